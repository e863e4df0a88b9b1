#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "client/doctor/host.h"
#include "common/address.h"

namespace longhand::client {
namespace {

// Why nothing can listen there, or nothing. A server takes its ports with SO_REUSEADDR, too.
std::string BindError(const std::string& address) {
  const Result<Address> parsed = Address::Parse(address);
  if (!parsed.ok()) return parsed.status().message();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(parsed->host.c_str(), std::to_string(parsed->port).c_str(), &hints, &found);
  if (error != 0) return gai_strerror(error);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd < 0) return std::strerror(errno);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool is_free = bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
  const std::string why = is_free ? "" : std::strerror(errno);
  close(fd);
  return why;
}

}  // namespace

Findings CheckPorts(const ServeOptions& options) {
  Findings findings;
  for (const auto& [name, address] : {std::pair{"http", options.http_address},
                                      {"grpc", options.grpc_address},
                                      {"metrics", options.metrics_address}}) {
    const std::string error = BindError(address);
    Finding finding{std::string("port of ") + name, Verdict::kOk,
                    address + (error.empty() ? " is free" : ": " + error), ""};
    if (!error.empty()) {
      finding.verdict = Verdict::kFail;
      finding.advice =
          std::string("--") + name +
          "-address names another, port 0 takes a free one; `ss -ltnp` shows who listens";
    }
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace longhand::client
