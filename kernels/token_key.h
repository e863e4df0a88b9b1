// TokenKey on the host: a token and its value as one number (kernels/shard_sampling.h).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace longhand::kernels {

using TokenKey = uint64_t;

inline TokenKey KeyOf(float value, int64_t id) {
  if (value == 0) value = 0;
  if (std::isnan(value)) value = -std::numeric_limits<float>::infinity();
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return TokenKey{ordered} << 32 | ~static_cast<uint32_t>(id);
}

inline int32_t IdOf(TokenKey key) { return static_cast<int32_t>(~static_cast<uint32_t>(key)); }

inline float ValueOf(TokenKey key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>(ordered >> 31 != 0 ? ordered & 0x7fffffffu : ~ordered);
}

}  // namespace longhand::kernels
