// Exchange: one request and its answer, as a handler sees them. I/O thread.
//
// GCC 12 destroys twice what braces make within a co_await expression: what is passed has a name.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string_view>

#include "coordinator/http/message.h"

namespace longhand::http {

using Deadline = std::chrono::steady_clock::time_point;
// Ends a Sleep. Any thread, at any time, also when the connection or the server is no more.
using Waker = std::function<void()>;

class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual Request& request() = 0;
  // The body has been used: its bytes count no more, however long the answer takes.
  virtual void ReleaseBody() = 0;
  // Of the answer so far; 0: none yet.
  virtual int status() const = 0;

  // The whole answer, once.
  virtual boost::asio::awaitable<void> Reply(Response response) = 0;

  // Or a part at a time: the head (its body is not sent), parts, the end. False when the client is
  // gone, took too long to read, or asked for the head alone.
  virtual boost::asio::awaitable<bool> Begin(const Response& head) = 0;
  virtual boost::asio::awaitable<bool> Send(std::string_view part) = 0;
  virtual boost::asio::awaitable<void> End() = 0;
  // The client sees the answer break off.
  virtual void Break() = 0;

  // The client has closed the connection, or the server has: at its end, some time after it was
  // told to stop, so that what there is can be sent.
  virtual bool gone() const = 0;
  // Until the waker is called, the client leaves, or `until` has come.
  virtual boost::asio::awaitable<void> Sleep(std::optional<Deadline> until) = 0;
  virtual Waker waker() = 0;
};

// Answers; called once for each request that could be read.
using Handler = std::function<boost::asio::awaitable<void>(Exchange&)>;

}  // namespace longhand::http
