// Names for requests that came without one.
#pragma once

#include <cstdio>
#include <random>
#include <string>

namespace longhand {

// "gen-" and 24 hexadecimal digits, for the prefix "gen". Not a secret.
inline std::string DrawRequestId(const std::string& prefix) {
  std::random_device device;
  char digits[32];
  std::snprintf(digits, sizeof(digits), "-%08x%08x%08x", device(), device(), device());
  return prefix + digits;
}

}  // namespace longhand
