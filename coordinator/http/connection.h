// Connection: one client's connection, from its first byte to its last: requests in, each handled
// to its end before the next, so that answers to pipelined requests keep their order. I/O thread.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "common/status.h"
#include "coordinator/http/exchange.h"
#include "coordinator/http/limits.h"
#include "coordinator/http/request_parser.h"
#include "coordinator/http/transport.h"

namespace longhand::http {

// What connections share; outlives them.
struct ConnectionHost {
  Limits limits;
  Handler handle;
  // What is to be said before a body is read: nothing, or a refusal.
  std::function<std::optional<Response>(const Request&)> check_head;
  // Adds headers that every answer to the request has.
  std::function<void(const Request&, Response&)> decorate;
  // A refusal of what is no request.
  std::function<Response(const ParseError&)> refuse;
  // Counts bytes of bodies that are held; kResourceExhausted over what may be.
  std::function<Status(int64_t bytes)> reserve;
  std::function<void(int64_t bytes)> release;
  std::function<Response(const Status&)> fail;
  bool draining = false;  // each connection closes after its answer, a new one after its first
  bool stopping = false;  // and none waits for a request
};

class Connection final : public std::enable_shared_from_this<Connection>, private Exchange {
 public:
  // Shared by its own coroutines and by wakers. Wakers also share `io`, which they may outlive.
  Connection(const std::shared_ptr<boost::asio::io_context>& io,
             std::unique_ptr<Transport> transport,
             const ConnectionHost& host);
  ~Connection();

  // Until the connection is closed.
  boost::asio::awaitable<void> Run();
  void Wake() { wake_.cancel(); }
  // At once, whatever is under way.
  void CloseNow();

 private:
  enum class Waited { kBytes, kClosed, kTimeout };

  // Reads ahead, within bounds, for as long as the connection lives: so it notices when the client
  // leaves.
  boost::asio::awaitable<void> ReadAhead();
  void Consume(size_t bytes);
  boost::asio::awaitable<Waited> WaitForBytes(size_t more_than, Deadline until);

  // Whether another request may follow.
  boost::asio::awaitable<bool> ServeRequest();
  boost::asio::awaitable<bool> ReadHead(RequestParser& parser);
  boost::asio::awaitable<bool> ReadBody(RequestParser& parser);
  boost::asio::awaitable<void> Refuse(Response response);
  boost::asio::awaitable<void> RefuseLate(std::string message);
  boost::asio::awaitable<bool> Write(std::string_view bytes);
  boost::asio::awaitable<void> CloseGently();
  bool may_keep_alive() const;
  void NoteAnswer(Response& response);

  Request& request() override { return request_; }
  void ReleaseBody() override;
  int status() const override { return status_; }
  boost::asio::awaitable<void> Reply(Response response) override;
  boost::asio::awaitable<bool> Begin(const Response& head) override;
  boost::asio::awaitable<bool> Send(std::string_view part) override;
  boost::asio::awaitable<void> End() override;
  void Break() override { CloseNow(); }
  bool gone() const override { return read_closed_ || closed_; }
  boost::asio::awaitable<void> Sleep(std::optional<Deadline> until) override;
  Waker waker() override;

  const ConnectionHost& host_;
  const std::unique_ptr<Transport> transport_;
  boost::asio::steady_timer wake_;   // whoever serves sleeps on it
  boost::asio::steady_timer space_;  // the reader, while it is far enough ahead
  boost::asio::steady_timer write_deadline_;
  std::string in_;  // read ahead
  bool read_closed_ = false;
  bool closed_ = false;

  Request request_;
  bool is_new_ = true;  // no request has come on it yet
  int status_ = 0;
  bool keep_alive_ = false;
  Framing framing_ = Framing::kLength;
  int64_t reserved_bytes_ = 0;

  struct WakeFlag;
  const std::shared_ptr<WakeFlag> wake_flag_;  // shared with wakers
};

}  // namespace longhand::http
