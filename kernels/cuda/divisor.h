// Division of indices by a number that the host knows, without the device's division, which takes
// some 30 instructions.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cuda/device.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// n / divisor for 0 <= n < 2^31, 1 <= divisor < 2^31: n times the divisor's inverse, rounded up, in
// fixed point (Granlund and Montgomery, 1994).
class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(int divisor)
      : divisor_(divisor),
        shift_(std::bit_width(static_cast<uint32_t>(divisor) - 1)),
        inverse_(static_cast<uint32_t>(
            ((uint64_t{1} << (31 + shift_)) + static_cast<uint32_t>(divisor) - 1) /
            static_cast<uint32_t>(divisor))) {}

  __device__ __forceinline__ int Quotient(int n) const {
    return static_cast<int>(__umulhi(static_cast<uint32_t>(n) << 1, inverse_) >> shift_);
  }
  __device__ __forceinline__ int Remainder(int n, int quotient) const {
    return n - quotient * divisor_;
  }
  __host__ __device__ int divisor() const { return divisor_; }

 private:
  int divisor_ = 1;
  int shift_ = 0;
  uint32_t inverse_ = 0x80000000u;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
