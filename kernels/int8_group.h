// Groups in int8, and the smallest rows in 8 bits: numbers alone, for files that are compiled for
// one instruction set.
#pragma once

#include <cstdint>

namespace longhand::kernels {

inline constexpr float kMaxInt8 = 127.0f;
// Rows smaller than this are stored as zeros, so that the inverse of a scale is a number.
inline constexpr float kSmallestRow = 0x1p-100f;

// Elements of a group in int8, neighbours in k, but for the last one's of a row.
inline constexpr int64_t kInt8Group = 32;

constexpr int64_t NumInt8Groups(int64_t in_features) {
  return (in_features + kInt8Group - 1) / kInt8Group;
}

}  // namespace longhand::kernels
