#include "coordinator/http/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>
#include <vector>

namespace longhand::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

std::chrono::milliseconds SilenceOf(tcp::socket& socket) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  const bool is_due =
      getsockopt(socket.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
      (info.tcpi_retransmits > 0 || info.tcpi_probes > 0);
  return std::chrono::milliseconds(is_due ? info.tcpi_last_ack_recv : 0);
}

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {
    error_code ignored;
    socket_.non_blocking(true, ignored);
    socket_.set_option(tcp::no_delay(true), ignored);
  }

  asio::awaitable<bool> Handshake() override { co_return true; }

  asio::awaitable<bool> Read(std::string* into, size_t max_bytes) override {
    while (true) {
      const auto [failure] = co_await socket_.async_wait(tcp::socket::wait_read, kToken);
      if (failure) co_return false;
      const size_t before = into->size();
      into->resize(before + max_bytes);
      error_code error;
      const size_t count = socket_.read_some(asio::buffer(into->data() + before, max_bytes), error);
      into->resize(before + count);
      if (!error) co_return true;
      if (error != asio::error::would_block) co_return false;
    }
  }

  size_t TryWrite(std::string_view bytes) override {
    error_code error;
    const size_t count = socket_.write_some(asio::buffer(bytes), error);
    return error ? 0 : count;
  }

  asio::awaitable<bool> Write(std::string_view bytes) override {
    const auto [error, count] = co_await asio::async_write(socket_, asio::buffer(bytes), kToken);
    co_return !error;
  }

  asio::awaitable<void> ShutdownWrite() override {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
  }

  std::chrono::milliseconds Silence() override { return SilenceOf(socket_); }

  void Close() override {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, asio::ssl::context& context)
      : stream_(std::move(socket), context) {
    error_code ignored;
    stream_.next_layer().set_option(tcp::no_delay(true), ignored);
  }

  asio::awaitable<bool> Handshake() override {
    const auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kToken);
    co_return !error;
  }

  asio::awaitable<bool> Read(std::string* into, size_t max_bytes) override {
    read_buffer_.resize(max_bytes);  // `into` is used while this waits.
    const auto [error, count] =
        co_await stream_.async_read_some(asio::buffer(read_buffer_), kToken);
    into->append(read_buffer_.data(), count);
    co_return !error;
  }

  // A record may need the peer's word first.
  size_t TryWrite(std::string_view) override { return 0; }

  asio::awaitable<bool> Write(std::string_view bytes) override {
    const auto [error, count] = co_await asio::async_write(stream_, asio::buffer(bytes), kToken);
    co_return !error;
  }

  asio::awaitable<void> ShutdownWrite() override {
    co_await stream_.async_shutdown(kToken);
    error_code ignored;
    stream_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
  }

  std::chrono::milliseconds Silence() override { return SilenceOf(stream_.next_layer()); }

  void Close() override {
    error_code ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  asio::ssl::stream<tcp::socket> stream_;
  std::vector<char> read_buffer_;
};

}  // namespace

std::unique_ptr<Transport> MakePlainTransport(tcp::socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

std::unique_ptr<Transport> MakeTlsTransport(tcp::socket socket, asio::ssl::context& context) {
  return std::make_unique<TlsTransport>(std::move(socket), context);
}

}  // namespace longhand::http
