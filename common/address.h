// host:port, as flags give addresses. The host is a name, an IPv4 address, or an IPv6 address in
// brackets: [::1]:8001.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace longhand {

struct Address {
  std::string host;  // without brackets
  int port = 0;      // 0 to 65535

  // kInvalidArgument saying what an address must be.
  static Result<Address> Parse(std::string_view text);
  std::string ToString() const;  // what Parse() reads
};

}  // namespace longhand
