#include "worker/comm/network_interface.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

namespace longhand::comm {

Status CheckInterface(const std::string& name) {
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) return Unavailable("cannot list interfaces: ", std::strerror(errno));
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(found, &freeifaddrs);
  std::set<std::string> names;
  for (const ifaddrs* at = all.get(); at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr) continue;
    const int family = at->ifa_addr->sa_family;
    if (family == AF_INET || family == AF_INET6) names.insert(at->ifa_name);
  }
  if (names.contains(name)) return OkStatus();
  std::string list;
  for (const std::string& each : names) list += (list.empty() ? "" : ", ") + each;
  return InvalidArgument("no network interface '", name, "' has an address; there are: ", list);
}

}  // namespace longhand::comm
