#include "coordinator/http/http_server.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <optional>
#include <thread>
#include <unordered_set>
#include <utility>

#include "common/address.h"
#include "common/descriptors.h"
#include "common/keep_alive.h"

namespace longhand::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kStopGrace(500);
constexpr std::chrono::milliseconds kAcceptPause(50);  // when no descriptor is left

// A connection is a descriptor: as many as may be.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Status LoadCertificate(const HttpServerConfig& config, asio::ssl::context* context) {
  error_code error;
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                           asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                           asio::ssl::context::no_tlsv1_1,
                       error);
  context->use_certificate_chain_file(config.tls_cert, error);
  if (error) {
    return InvalidArgument("--tls-cert ", config.tls_cert,
                           " is no chain of PEM certificates: ", error.message());
  }
  context->use_private_key_file(config.tls_key, asio::ssl::context::pem, error);
  if (error) {
    return InvalidArgument("--tls-key ", config.tls_key,
                           " is no private key of the certificate: ", error.message());
  }
  return OkStatus();
}

}  // namespace

struct HttpServer::Impl {
  explicit Impl(HttpServerConfig from) : config(std::move(from)) {}

  Status Listen(const Address& address);
  asio::awaitable<void> Accept();
  void Open(tcp::socket socket);
  asio::awaitable<void> Serve(std::shared_ptr<Connection> connection);
  void WakeAll() {
    for (const auto& connection : connections) connection->Wake();
  }

  HttpServerConfig config;
  // Shared with wakers, which others keep for as long as they like.
  const std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
  tcp::acceptor acceptor{*io};
  asio::steady_timer pause{*io};
  std::optional<asio::ssl::context> tls;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  std::thread thread;
};

// The supervisor holds the port, bound with SO_REUSEPORT, for the coordinator that comes next.
Status HttpServer::Impl::Listen(const Address& address) {
  error_code error;
  const auto endpoints = tcp::resolver(*io).resolve(address.host, std::to_string(address.port),
                                                    tcp::resolver::passive, error);
  if (error) return InvalidArgument("'", config.address, "' is no address: ", error.message());
  const tcp::endpoint endpoint = *endpoints.begin();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  if (!error) acceptor.set_option(ReusePort(true), error);
  if (!error && !NoticeVanishedPeers(acceptor.native_handle()))
    error.assign(errno, boost::system::system_category());
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return Unavailable("cannot serve HTTP on ", config.address, ": ", error.message());
  return OkStatus();
}

asio::awaitable<void> HttpServer::Impl::Accept() {
  while (acceptor.is_open()) {
    auto [error, socket] = co_await acceptor.async_accept(kToken);
    if (!acceptor.is_open()) break;
    if (error) {
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kToken);
      continue;
    }
    // Beyond the bound a connection is closed: a dropped socket is.
    if (static_cast<int64_t>(connections.size()) < config.host.limits.max_connections &&
        !IsKeptDescriptor(socket.native_handle())) {
      Open(std::move(socket));
    } else if (config.on_refused) {
      config.on_refused();
    }
  }
}

void HttpServer::Impl::Open(tcp::socket socket) {
  auto transport =
      tls ? MakeTlsTransport(std::move(socket), *tls) : MakePlainTransport(std::move(socket));
  auto connection = std::make_shared<Connection>(io, std::move(transport), config.host);
  connections.insert(connection);
  config.on_connections(static_cast<int64_t>(connections.size()));
  asio::co_spawn(*io, Serve(std::move(connection)), asio::detached);
}

asio::awaitable<void> HttpServer::Impl::Serve(std::shared_ptr<Connection> connection) {
  co_await connection->Run();
  connections.erase(connection);
  config.on_connections(static_cast<int64_t>(connections.size()));
  if (config.host.stopping && connections.empty()) pause.cancel();
}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerConfig config) {
  LONGHAND_ASSIGN_OR_RETURN(Address address, Address::Parse(config.address));
  RaiseDescriptorLimit();
  auto impl = std::make_unique<Impl>(std::move(config));
  if (!impl->config.tls_cert.empty()) {
    impl->tls.emplace(asio::ssl::context::tls_server);
    LONGHAND_RETURN_IF_ERROR(LoadCertificate(impl->config, &*impl->tls));
  }
  LONGHAND_RETURN_IF_ERROR(impl->Listen(address));
  error_code ignored;
  address.port = impl->acceptor.local_endpoint(ignored).port();
  asio::co_spawn(*impl->io, impl->Accept(), asio::detached);
  impl->thread = std::thread([io = impl->io] { io->run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl), address.ToString()));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl, std::string address)
    : impl_(std::move(impl)), address_(std::move(address)) {}

HttpServer::~HttpServer() { Stop(); }

void HttpServer::Drain() {
  asio::post(*impl_->io, [impl = impl_.get()] {
    impl->config.host.draining = true;
    impl->WakeAll();
  });
}

// The thread ends by itself when no connection is left.
void HttpServer::Stop() {
  if (!impl_->thread.joinable()) return;
  asio::post(*impl_->io, [impl = impl_.get()] {
    impl->config.host.draining = impl->config.host.stopping = true;
    error_code ignored;
    impl->acceptor.close(ignored);
    impl->pause.cancel();
    if (impl->connections.empty()) return;
    impl->WakeAll();
    impl->pause.expires_after(kStopGrace);
    impl->pause.async_wait([impl](const error_code&) {
      const auto open = impl->connections;
      for (const auto& connection : open) connection->CloseNow();
    });
  });
  impl_->thread.join();
}

}  // namespace longhand::http
