#include "coordinator/api/connection_acceptor.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/descriptors.h"
#include "common/keep_alive.h"

namespace longhand::api {
namespace {

constexpr int kPauseMs = 50;  // when no descriptor is left

Status CannotListen(const Address& address, const char* why) {
  return Unavailable("cannot listen on ", address.ToString(), ": ", why);
}

void Set(int socket, int level, int option, int value = 1) {
  setsockopt(socket, level, option, &value, sizeof(value));
}

int PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

void SetPort(sockaddr* address, int port) {
  const auto number = htons(static_cast<uint16_t>(port));
  (address->sa_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(address)->sin6_port
                                  : reinterpret_cast<sockaddr_in*>(address)->sin_port) = number;
}

}  // namespace

Result<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Listen(const Address& address) {
  std::unique_ptr<ConnectionAcceptor> acceptor(new ConnectionAcceptor);
  LONGHAND_RETURN_IF_ERROR(acceptor->Bind(address));
  return acceptor;
}

// SO_REUSEPORT: the supervisor holds the port, bound so, for the coordinator that comes next.
Status ConnectionAcceptor::Bind(const Address& address) {
  end_ = eventfd(0, EFD_CLOEXEC);
  if (end_ < 0) return CannotListen(address, std::strerror(errno));
  addrinfo hints{.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const std::string asked = std::to_string(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), asked.c_str(), &hints, &found);
      error != 0)
    return CannotListen(address, gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> freed(found, freeaddrinfo);
  port_ = address.port;
  for (addrinfo* each = found; each != nullptr; each = each->ai_next) {
    const int listener =
        socket(each->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (listener < 0 && errno == EAFNOSUPPORT) continue;
    if (listener < 0) return CannotListen(address, std::strerror(errno));
    listeners_.push_back(listener);
    Set(listener, SOL_SOCKET, SO_REUSEADDR);
    Set(listener, SOL_SOCKET, SO_REUSEPORT);
    Set(listener, IPPROTO_TCP, TCP_NODELAY);  // The connections have it from here.
    (void)NoticeVanishedPeers(listener);      // The same.
    // Of what was sent, too. HTTP/2's windows close before TCP's, which would be silence.
    Set(listener, IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000);
    SetPort(each->ai_addr, port_);
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    if (bind(listener, each->ai_addr, each->ai_addrlen) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size) != 0)
      return CannotListen(address, std::strerror(errno));
    port_ = PortOf(bound);
  }
  return listeners_.empty() ? CannotListen(address, "the host has no address") : OkStatus();
}

ConnectionAcceptor::~ConnectionAcceptor() {
  if (thread_.joinable()) {
    eventfd_write(end_, 1);
    thread_.join();
  }
  for (const int listener : listeners_) close(listener);
  if (end_ >= 0) close(end_);
}

void ConnectionAcceptor::Start(Take take, std::function<void()> on_refused) {
  take_ = std::move(take);
  on_refused_ = std::move(on_refused);
  thread_ = std::thread([this] { Run(); });
}

void ConnectionAcceptor::Run() {
  std::vector<pollfd> waited_for = {{end_, POLLIN, 0}};
  for (const int listener : listeners_) waited_for.push_back({listener, POLLIN, 0});
  while (true) {
    poll(waited_for.data(), waited_for.size(), -1);
    if (waited_for[0].revents != 0) return;
    for (const int listener : listeners_) AcceptAll(listener);
  }
}

void ConnectionAcceptor::AcceptAll(int listener) {
  while (true) {
    const int connection = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (connection < 0) {
      pollfd end = {end_, POLLIN, 0};
      if (poll(&end, 1, kPauseMs) != 0) return;
      continue;
    }
    if (IsKeptDescriptor(connection)) {
      close(connection);
      on_refused_();
    } else {
      take_(listener, connection);
    }
  }
}

}  // namespace longhand::api
