// Transport: the bytes of one connection, plain or through TLS. I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace longhand::http {

class Transport {
 public:
  virtual ~Transport() = default;

  // False when the peer does not come to terms.
  virtual boost::asio::awaitable<bool> Handshake() = 0;
  // Waits for bytes and appends at most `max_bytes` of them. False when none will come any more.
  // A plain connection that waits holds no buffer.
  virtual boost::asio::awaitable<bool> Read(std::string* into, size_t max_bytes) = 0;
  // Sends what can be sent without waiting, and says how much that was.
  virtual size_t TryWrite(std::string_view bytes) = 0;
  // False when the connection is broken.
  virtual boost::asio::awaitable<bool> Write(std::string_view bytes) = 0;
  // Nothing more is written; the peer is told.
  virtual boost::asio::awaitable<void> ShutdownWrite() = 0;
  // For how long the peer's host has acknowledged nothing, though it was sent to again; 0: nothing
  // is due.
  virtual std::chrono::milliseconds Silence() = 0;
  // Ends all that waits.
  virtual void Close() = 0;
};

std::unique_ptr<Transport> MakePlainTransport(boost::asio::ip::tcp::socket socket);
// `context` outlives it.
std::unique_ptr<Transport> MakeTlsTransport(boost::asio::ip::tcp::socket socket,
                                            boost::asio::ssl::context& context);

}  // namespace longhand::http
