// RequestParser: the bytes of a connection become a request, strictly.
//
// Beast parses. What Beast forgives, and a proxy in front may read in another way, is refused here:
// folded lines, bare CR and LF, control characters, more than one length, a length beside chunks,
// any transfer coding but chunked, none or several hosts. No I/O; any thread, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/http/message.h"

namespace longhand::http {

// Why a request cannot be read; the connection cannot go on after it.
struct ParseError {
  int status = 400;
  std::string message;
};

class RequestParser {
 public:
  struct Limits {
    size_t max_header_bytes = 16 * 1024;
    int64_t max_body_bytes = 0;
  };
  explicit RequestParser(const Limits& limits);
  ~RequestParser();

  // Takes what it can use from the front of `bytes`, up to the end of the request, and says how
  // much that was. After an error nothing more is taken.
  size_t Feed(std::string_view bytes);

  const std::optional<ParseError>& error() const { return error_; }
  bool has_head() const { return has_head_; }
  bool is_done() const { return is_done_; }
  // The client waits for a 100 before it sends the body.
  bool expects_continue() const { return expects_continue_; }
  // With a head: all but the body. With a done request: all of it.
  Request& request() { return request_; }

 private:
  struct Impl;

  void Fail(int status, std::string message) { error_ = ParseError{status, std::move(message)}; }
  size_t FeedHead(std::string_view bytes);
  size_t FeedBody(std::string_view bytes);
  void TakeHead();
  void TakeFields();

  const Limits limits_;
  std::unique_ptr<Impl> impl_;
  Request request_;
  std::optional<ParseError> error_;
  bool has_head_ = false;
  bool is_done_ = false;
  bool expects_continue_ = false;
};

}  // namespace longhand::http
