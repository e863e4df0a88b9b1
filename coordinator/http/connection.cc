#include "coordinator/http/connection.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <new>
#include <utility>

namespace longhand::http {
namespace {

namespace asio = boost::asio;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadBytes = 16 * 1024;
constexpr size_t kMaxReadAhead = 64 * 1024;
constexpr size_t kWriteBytes = 64 * 1024;

Deadline In(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

}  // namespace

// Wakes at most once at a time, however often it is asked to.
struct Connection::WakeFlag {
  std::shared_ptr<asio::io_context> io;
  std::weak_ptr<Connection> connection;
  std::atomic<bool> is_posted = false;
};

Connection::Connection(const std::shared_ptr<asio::io_context>& io,
                       std::unique_ptr<Transport> transport,
                       const ConnectionHost& host)
    : host_(host),
      transport_(std::move(transport)),
      wake_(*io),
      space_(*io),
      write_deadline_(*io),
      wake_flag_(std::make_shared<WakeFlag>()) {
  wake_flag_->io = io;
}

Connection::~Connection() { host_.release(reserved_bytes_); }

asio::awaitable<void> Connection::Run() {
  wake_flag_->connection = weak_from_this();
  write_deadline_.expires_after(host_.limits.header_timeout);
  write_deadline_.async_wait([self = shared_from_this()](const auto& error) {
    if (!error) self->CloseNow();
  });
  const bool is_open = co_await transport_->Handshake();
  write_deadline_.cancel();
  if (is_open && !closed_) {
    asio::co_spawn(
        wake_.get_executor(),
        [self = shared_from_this()]() -> asio::awaitable<void> { co_await self->ReadAhead(); },
        asio::detached);
    // A body that there is no memory for ends its connection, not the process.
    try {
      while (co_await ServeRequest()) {
      }
      co_await CloseGently();
    } catch (const std::bad_alloc&) {
    }
  }
  CloseNow();
}

asio::awaitable<void> Connection::ReadAhead() {
  try {
    bool is_open = true;
    while (is_open && !closed_) {
      if (in_.size() < kMaxReadAhead) {
        is_open = co_await transport_->Read(&in_, kReadBytes);
      } else {
        space_.expires_at(Deadline::max());
        co_await space_.async_wait(kToken);
      }
      Wake();
    }
  } catch (const std::bad_alloc&) {  // The same.
  }
  read_closed_ = true;
  Wake();
}

void Connection::Consume(size_t bytes) {
  in_.erase(0, bytes);
  if (in_.empty()) in_.shrink_to_fit();  // Thousands of connections wait.
  space_.cancel();
}

asio::awaitable<Connection::Waited> Connection::WaitForBytes(size_t more_than, Deadline until) {
  while (true) {
    if (in_.size() > more_than) co_return Waited::kBytes;
    if (read_closed_ || closed_) co_return Waited::kClosed;
    if (std::chrono::steady_clock::now() >= until) co_return Waited::kTimeout;
    wake_.expires_at(until);
    co_await wake_.async_wait(kToken);
  }
}

asio::awaitable<bool> Connection::ServeRequest() {
  request_ = {};
  status_ = 0;
  framing_ = Framing::kLength;
  keep_alive_ = false;
  RequestParser parser({.max_header_bytes = host_.limits.max_header_bytes,
                        .max_body_bytes = host_.limits.max_body_bytes});
  if (!co_await ReadHead(parser)) co_return false;
  is_new_ = false;
  request_ = parser.request();
  if (std::optional<Response> refusal = host_.check_head(request_)) {
    keep_alive_ = parser.is_done() && request_.keep_alive;
    co_await Reply(std::move(*refusal));
    co_return may_keep_alive();
  }
  if (!co_await ReadBody(parser)) co_return false;
  request_ = std::move(parser.request());
  keep_alive_ = request_.keep_alive;
  co_await host_.handle(*this);
  ReleaseBody();
  co_return may_keep_alive();
}

void Connection::ReleaseBody() {
  std::string().swap(request_.body);
  host_.release(std::exchange(reserved_bytes_, 0));
}

asio::awaitable<bool> Connection::ReadHead(RequestParser& parser) {
  Deadline until = In(host_.limits.idle_timeout);
  size_t seen = 0;
  bool has_begun = false;
  while (!parser.has_head()) {
    while (!has_begun && in_.empty() && !read_closed_ && !closed_) {
      const bool is_over = host_.stopping || (host_.draining && !is_new_);
      if (is_over || std::chrono::steady_clock::now() >= until) co_return false;
      wake_.expires_at(until);
      co_await wake_.async_wait(kToken);
    }
    if (!std::exchange(has_begun, true)) until = In(host_.limits.header_timeout);
    const Waited waited = co_await WaitForBytes(seen, until);
    if (waited == Waited::kClosed) co_return false;
    if (waited == Waited::kTimeout) {
      co_await RefuseLate("the head of the request did not come in time");
      co_return false;
    }
    Consume(parser.Feed(in_));
    seen = in_.size();
    if (parser.error()) {
      co_await Refuse(host_.refuse(*parser.error()));
      co_return false;
    }
  }
  co_return true;
}

asio::awaitable<bool> Connection::ReadBody(RequestParser& parser) {
  if (parser.expects_continue() && in_.empty() && !co_await Write("HTTP/1.1 100 Continue\r\n\r\n"))
    co_return false;
  const Deadline begun = In(host_.limits.body_timeout);
  size_t seen = 0;
  int64_t received = 0;
  while (!parser.is_done()) {
    const auto earned = std::chrono::seconds(received / host_.limits.min_body_bytes_per_second);
    const Waited waited = co_await WaitForBytes(seen, begun + earned);
    if (waited == Waited::kClosed) co_return false;
    if (waited == Waited::kTimeout) {
      co_await RefuseLate("the body of the request did not come in time");
      co_return false;
    }
    const size_t taken = parser.Feed(in_);
    if (const Status status = host_.reserve(static_cast<int64_t>(taken)); status.ok()) {
      reserved_bytes_ += static_cast<int64_t>(taken);
    } else {
      co_await Refuse(host_.fail(status));
      co_return false;
    }
    received += static_cast<int64_t>(taken);
    Consume(taken);
    seen = in_.size();
    if (parser.error()) {
      co_await Refuse(host_.refuse(*parser.error()));
      co_return false;
    }
  }
  co_return true;
}

asio::awaitable<void> Connection::RefuseLate(std::string message) {
  const ParseError error{408, std::move(message)};
  co_await Refuse(host_.refuse(error));
}

asio::awaitable<void> Connection::Refuse(Response response) {
  keep_alive_ = false;
  co_await Reply(std::move(response));
}

// What the client still sends is read and dropped, so that it sees the last answer.
asio::awaitable<void> Connection::CloseGently() {
  if (closed_) co_return;
  write_deadline_.expires_after(host_.limits.linger_timeout);
  write_deadline_.async_wait([self = shared_from_this()](const auto& error) {
    if (!error) self->CloseNow();
  });
  co_await transport_->ShutdownWrite();
  const Deadline until = In(host_.limits.linger_timeout);
  while (co_await WaitForBytes(0, until) == Waited::kBytes) Consume(in_.size());
  write_deadline_.cancel();
  CloseNow();
}

void Connection::CloseNow() {
  if (std::exchange(closed_, true)) return;
  transport_->Close();
  write_deadline_.cancel();
  space_.cancel();
  Wake();
}

bool Connection::may_keep_alive() const {
  return keep_alive_ && !closed_ && !host_.draining && framing_ != Framing::kUntilClose;
}

void Connection::NoteAnswer(Response& response) {
  status_ = response.status;
  host_.decorate(request_, response);
  if (!request_.request_id.empty())
    response.headers.emplace_back("X-Request-Id", request_.request_id);
}

asio::awaitable<void> Connection::Reply(Response response) {
  keep_alive_ = may_keep_alive();
  NoteAnswer(response);
  std::string bytes = SerializeHead(response, Framing::kLength,
                                    static_cast<int64_t>(response.body.size()), keep_alive_);
  if (request_.method != "HEAD") bytes += response.body;
  co_await Write(bytes);
}

asio::awaitable<bool> Connection::Begin(const Response& head) {
  framing_ = request_.minor_version == 0 ? Framing::kUntilClose : Framing::kChunked;
  keep_alive_ = may_keep_alive();
  Response own = head;
  NoteAnswer(own);
  const bool is_there = co_await Write(SerializeHead(own, framing_, 0, keep_alive_));
  co_return request_.method != "HEAD" && is_there;
}

asio::awaitable<bool> Connection::Send(std::string_view part) {
  if (framing_ != Framing::kChunked) co_return co_await Write(part);
  char size[24];
  const int digits = std::snprintf(size, sizeof(size), "%zx\r\n", part.size());
  std::string chunk(size, static_cast<size_t>(digits));
  chunk.append(part).append("\r\n");
  co_return co_await Write(chunk);
}

asio::awaitable<void> Connection::End() {
  if (framing_ == Framing::kChunked) co_await Write("0\r\n\r\n");
}

asio::awaitable<bool> Connection::Write(std::string_view bytes) {
  while (!bytes.empty() && !closed_) {
    const size_t at_once = transport_->TryWrite(bytes);
    bytes.remove_prefix(at_once);
    if (at_once > 0 || bytes.empty()) continue;
    write_deadline_.expires_after(host_.limits.write_timeout);
    write_deadline_.async_wait([self = shared_from_this()](const auto& error) {
      if (!error) self->CloseNow();
    });
    const std::string_view piece = bytes.substr(0, kWriteBytes);
    const bool written = co_await transport_->Write(piece);
    write_deadline_.cancel();
    if (!written) CloseNow();
    bytes.remove_prefix(piece.size());
  }
  co_return !closed_;
}

asio::awaitable<void> Connection::Sleep(std::optional<Deadline> until) {
  wake_.expires_at(until.value_or(Deadline::max()));
  const auto [woken] = co_await wake_.async_wait(kToken);
  // What a quiet stream sends fits the kernel's buffers for hours.
  if (!woken && transport_->Silence() > host_.limits.silence) CloseNow();
}

Waker Connection::waker() {
  return [flag = wake_flag_] {
    if (flag->is_posted.exchange(true)) return;
    // Weak: what is posted to a server that has ended stays in what the flag shares.
    asio::post(*flag->io, [weak = std::weak_ptr(flag)] {
      const auto flag = weak.lock();
      if (flag == nullptr) return;
      flag->is_posted = false;
      if (const auto connection = flag->connection.lock()) connection->Wake();
    });
  };
}

}  // namespace longhand::http
