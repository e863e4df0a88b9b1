#include "common/address.h"

namespace longhand {
namespace {

// Characters of an IPv6 address, with the zone of one that is local to a link (fe80::1%eth0).
// Whether it is one, whoever resolves it says.
bool LooksLikeIpv6(std::string_view host) {
  const std::string_view digits = host.substr(0, host.find('%'));
  return digits.find(':') != std::string_view::npos &&
         digits.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

// getaddrinfo would take port 65536 for 0.
bool IsPort(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         text.find_first_not_of("0123456789") == std::string_view::npos &&
         std::stoi(std::string(text)) <= 65535;
}

}  // namespace

Result<Address> Address::Parse(std::string_view text) {
  const auto wrong = [text](const char* must) {
    return InvalidArgument("'", text, "' is not an address; it must be ", must);
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !IsPort(text.substr(colon + 1)))
    return wrong("host:port with a port from 0 to 65535");
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (!LooksLikeIpv6(host)) return wrong("host:port; brackets are for IPv6 addresses");
  } else if (host.empty() || host.find_first_of("[]") != std::string_view::npos) {
    return wrong("host:port with a port from 0 to 65535");
  } else if (host.find(':') != std::string_view::npos) {
    return wrong("host:port; an IPv6 address has brackets, as in [::1]:8001");
  }
  return Address{std::string(host), std::stoi(std::string(text.substr(colon + 1)))};
}

std::string Address::ToString() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace longhand
