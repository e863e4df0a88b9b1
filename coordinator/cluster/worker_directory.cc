#include "coordinator/cluster/worker_directory.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <utility>

#include "common/address.h"

namespace longhand::cluster {
namespace {

std::string HostOf(const addrinfo& info) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes =
      info.ai_family == AF_INET
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(info.ai_addr)->sin_addr)
          : &reinterpret_cast<const sockaddr_in6*>(info.ai_addr)->sin6_addr;
  inet_ntop(info.ai_family, bytes, text.data(), text.size());
  return text.data();
}

std::vector<std::string> AddressesOf(const addrinfo* first, int family, int port) {
  std::vector<std::string> addresses;
  for (const addrinfo* info = first; info != nullptr; info = info->ai_next) {
    if (info->ai_family == family) addresses.push_back(Address{HostOf(*info), port}.ToString());
  }
  std::ranges::sort(addresses);
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
  return addresses;
}

}  // namespace

WorkerDirectory::WorkerDirectory(size_t num_workers, Lookup lookup)
    : lookup_(std::move(lookup)), addresses_(num_workers) {}

WorkerDirectory::Listing WorkerDirectory::Look(const std::vector<size_t>& lost) {
  const Result<std::vector<std::string>> listed = lookup_();
  const auto holds = [](const std::vector<std::string>& all, const std::string& address) {
    return std::ranges::find(all, address) != all.end();
  };
  std::lock_guard lock(mutex_);
  std::vector<std::string> free;
  if (listed.ok()) {
    std::ranges::copy_if(*listed, std::back_inserter(free),
                         [&](const std::string& each) { return !holds(addresses_, each); });
  }
  Listing listing;
  auto next = free.begin();
  for (const size_t worker : lost) {
    std::string& address = addresses_[worker];
    if (next != free.end() && !holds(*listed, address)) address = std::move(*next++);
    listing.addresses.push_back(address);
  }
  if (!holds(listing.addresses, "")) return listing;
  listing.status = listed.ok() ? Unavailable(listed->size(), " addresses are listed; ",
                                             addresses_.size(), " workers are needed")
                               : listed.status();
  return listing;
}

Result<std::vector<std::string>> LookUp(const std::string& name_and_port) {
  LONGHAND_ASSIGN_OR_RETURN(const Address name, Address::Parse(name_and_port));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(name.host.c_str(), nullptr, &hints, &found); error != 0)
    return Unavailable("the name ", name.host, " cannot be looked up: ", gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, &freeaddrinfo);
  std::vector<std::string> addresses = AddressesOf(found, AF_INET, name.port);
  if (addresses.empty()) addresses = AddressesOf(found, AF_INET6, name.port);
  return addresses;
}

}  // namespace longhand::cluster
