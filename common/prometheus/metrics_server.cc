#include "common/prometheus/metrics_server.h"

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <chrono>
#include <thread>
#include <utility>

#include "common/address.h"

namespace longhand {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

constexpr int kMaxConnections = 32;
constexpr std::chrono::seconds kIdleTimeout(30);
constexpr std::chrono::milliseconds kPause(50);  // after a connection that could not be taken

http::response<http::string_body> Answer(const http::request<http::empty_body>& request,
                                         const std::function<std::string()>& page) {
  const auto path = request.target().substr(0, request.target().find('?'));
  const bool found = path == "/metrics" && request.method() == http::verb::get;
  http::response<http::string_body> response(found ? http::status::ok : http::status::not_found,
                                             request.version());
  response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
  response.body() = found ? page() : "GET /metrics is here\n";
  response.keep_alive(request.keep_alive());
  response.prepare_payload();
  return response;
}

asio::awaitable<void> ServeConnection(tcp::socket socket,
                                      const std::function<std::string()>& page,
                                      int& connections) {
  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer buffer(16 * 1024);
  const auto token = asio::as_tuple(asio::use_awaitable);
  for (bool open = true; open;) {
    stream.expires_after(kIdleTimeout);
    http::request<http::empty_body> request;
    const auto [read_error, read_bytes] = co_await http::async_read(stream, buffer, request, token);
    if (read_error) break;
    const http::response<http::string_body> response = Answer(request, page);
    const auto [write_error, written_bytes] = co_await http::async_write(stream, response, token);
    open = !write_error && response.keep_alive();
  }
  --connections;
}

asio::awaitable<void> Accept(tcp::acceptor& acceptor, const std::function<std::string()>& page) {
  int connections = 0;
  while (acceptor.is_open()) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (error) {  // No descriptor is left, perhaps.
      asio::steady_timer pause(acceptor.get_executor(), kPause);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    if (connections >= kMaxConnections) continue;  // A dropped socket is closed.
    ++connections;
    asio::co_spawn(acceptor.get_executor(), ServeConnection(std::move(socket), page, connections),
                   asio::detached);
  }
}

}  // namespace

struct MetricsServer::Impl {
  explicit Impl(std::function<std::string()> page) : page(std::move(page)) {}

  // Only the io_context's thread runs what it holds; the coroutines end with it.
  const std::function<std::string()> page;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  std::thread thread;
};

Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                            std::function<std::string()> page) {
  LONGHAND_ASSIGN_OR_RETURN(Address bound, Address::Parse(address));
  auto impl = std::make_unique<Impl>(std::move(page));
  boost::system::error_code error;
  const auto endpoints = tcp::resolver(impl->io).resolve(bound.host, std::to_string(bound.port),
                                                         tcp::resolver::passive, error);
  if (error) return InvalidArgument("'", address, "' is not an address: ", error.message());
  const tcp::endpoint endpoint = *endpoints.begin();
  impl->acceptor.open(endpoint.protocol(), error);
  impl->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) impl->acceptor.bind(endpoint, error);
  if (!error) impl->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return Unavailable("cannot serve metrics on ", address, ": ", error.message());
  bound.port = impl->acceptor.local_endpoint(error).port();
  asio::co_spawn(impl->io, Accept(impl->acceptor, impl->page), asio::detached);
  impl->thread = std::thread([&io = impl->io] { io.run(); });
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl), bound.ToString()));
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl, std::string address)
    : impl_(std::move(impl)), address_(std::move(address)) {}

MetricsServer::~MetricsServer() {
  impl_->io.stop();
  impl_->thread.join();
}

}  // namespace longhand
