// Which addresses are of the public internet: IANA's special-purpose registries, for IPv4 and IPv6.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "coordinator/http/image_fetcher.h"

namespace longhand::http {
namespace {

struct Network {
  uint32_t address;
  int prefix_bits;
};

constexpr uint32_t V4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

constexpr Network kNotGlobal[] = {
    {V4(0, 0, 0, 0), 8},        // this network
    {V4(10, 0, 0, 0), 8},       // private
    {V4(100, 64, 0, 0), 10},    // shared by carriers
    {V4(127, 0, 0, 0), 8},      // loopback
    {V4(169, 254, 0, 0), 16},   // link-local, where clouds keep credentials
    {V4(172, 16, 0, 0), 12},    // private
    {V4(192, 0, 0, 0), 24},     // protocol assignments
    {V4(192, 0, 2, 0), 24},     // documentation
    {V4(192, 88, 99, 0), 24},   // 6to4 relays
    {V4(192, 168, 0, 0), 16},   // private
    {V4(198, 18, 0, 0), 15},    // benchmarks
    {V4(198, 51, 100, 0), 24},  // documentation
    {V4(203, 0, 113, 0), 24},   // documentation
    {V4(224, 0, 0, 0), 3},      // multicast, reserved, broadcast
};

bool IsGlobalV4(uint32_t address) {
  for (const Network& network : kNotGlobal) {
    const uint32_t mask = ~uint32_t{0} << (32 - network.prefix_bits);
    if ((address & mask) == network.address) return false;
  }
  return true;
}

uint32_t ReadV4(const uint8_t* bytes) { return V4(bytes[0], bytes[1], bytes[2], bytes[3]); }

bool IsGlobalV6(const uint8_t* bytes) {
  static constexpr uint8_t kNat64[12] = {0x00, 0x64, 0xff, 0x9b};
  if (std::memcmp(bytes, kNat64, sizeof(kNat64)) == 0) return IsGlobalV4(ReadV4(bytes + 12));
  // Only 2000::/3 is given out; mapped, loopback, local and multicast ones are outside of it.
  if ((bytes[0] & 0xe0) != 0x20) return false;
  const uint32_t head = ReadV4(bytes);
  if (head >> 16 == 0x2002) return IsGlobalV4(ReadV4(bytes + 2));  // 6to4
  if (head >> 9 == 0x20010000 >> 9) return false;  // 2001::/23: protocol assignments, Teredo
  if (head == 0x20010db8) return false;            // documentation
  return head >> 12 != 0x3fff0000 >> 12;           // documentation
}

}  // namespace

bool IsGlobalAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return IsGlobalV4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  return IsGlobalV6(v6.sin6_addr.s6_addr);
}

}  // namespace longhand::http
