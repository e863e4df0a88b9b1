// Products of large matrices by a library, for where a row's bits may depend on the rows beside it
// (Ops::SetDeterministic).
#pragma once

#include <memory>

#include "common/status.h"
#include "kernels/cuda/device.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// out[T, N] = x[T, K] * weight[N, K]^T, in bf16 and summed in f32. Rows begin at 16 bytes.
struct LargeProduct {
  const void* x;
  const void* weight;
  void* out;
  int64_t num_tokens, in_features, out_features;
};

class LargeProducts {
 public:
  static constexpr int64_t kScratchBytes = int64_t{32} << 20;

  virtual ~LargeProducts() = default;
  // Enqueued; `scratch` has kScratchBytes of device memory. kInternal where the library refuses.
  virtual Status Multiply(const Stream& stream, const LargeProduct& product, void* scratch) = 0;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
