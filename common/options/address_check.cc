#include "common/options/address_check.h"

#include <string_view>

#include "common/address.h"

namespace longhand {
namespace {

bool IsPath(const std::string& given) { return given.starts_with("unix:") && given.size() > 5; }

}  // namespace

std::string CheckAddress(const std::string& given) {
  const Result<Address> address = Address::Parse(given);
  return address.ok() ? "" : address.status().message();
}

std::string CheckWorkerAddress(const std::string& given) {
  return IsPath(given) ? "" : CheckAddress(given);
}

std::string CheckPeerAddress(const std::string& given) {
  if (IsPath(given)) return "";
  const Result<Address> address = Address::Parse(given);
  if (!address.ok()) return address.status().message();
  if (address->port == 0) return "'" + given + "' cannot be reached; its port is 0";
  return "";
}

std::string CheckHttpUrl(const std::string& given) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (given.starts_with(scheme) && given.size() > scheme.size() && given[scheme.size()] != '/')
      return "";
  }
  if (given.empty()) return "";
  return "'" + given + "' is no URL of a server; it must begin with http://HOST or https://HOST";
}

}  // namespace longhand
