#include "client/serve/reserved_port.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/address.h"

namespace longhand::client {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Result<AddressList> Resolve(const Address& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  const std::string port = std::to_string(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &list);
      error != 0) {
    return InvalidArgument("'", address.ToString(), "' is not an address: ", gai_strerror(error));
  }
  return AddressList(list, &freeaddrinfo);
}

int BoundPort(int fd) {
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

// SO_REUSEPORT would let two servers share a port in silence; without it the kernel says who was
// first.
Status CheckFree(const addrinfo& where, const std::string& address) {
  const int fd = socket(where.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Internal("socket: ", std::strerror(errno));
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
             sizeof(on));  // Connections in TIME_WAIT do not count.
  const int error = bind(fd, where.ai_addr, where.ai_addrlen) == 0 ? 0 : errno;
  close(fd);
  if (error != 0) return Unavailable("cannot bind ", address, ": ", std::strerror(error));
  return OkStatus();
}

}  // namespace

Result<ReservedPort> ReservedPort::Reserve(const std::string& address) {
  LONGHAND_ASSIGN_OR_RETURN(Address parsed, Address::Parse(address));
  LONGHAND_ASSIGN_OR_RETURN(const AddressList list, Resolve(parsed));
  LONGHAND_RETURN_IF_ERROR(CheckFree(*list, address));
  const int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Internal("socket: ", std::strerror(errno));
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  if (bind(fd, list->ai_addr, list->ai_addrlen) != 0) {
    const int error = errno;
    close(fd);
    return Unavailable("cannot bind ", address, ": ", std::strerror(error));
  }
  parsed.port = BoundPort(fd);
  return ReservedPort(fd, parsed.ToString());
}

ReservedPort::ReservedPort(ReservedPort&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), address_(std::move(other.address_)) {}

ReservedPort::~ReservedPort() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace longhand::client
