// Random weights of codes, as they are given to be packed.
#pragma once

#include "kernels/quantized_weight.h"
#include "tests/conformance/device.h"

namespace longhand::conformance {

struct HostWeight {
  HostTensor codes, scales, zeros;

  kernels::QuantizedWeight view() {
    return {codes.view(), scales.view(), zeros.shape.empty() ? TensorView() : zeros.view()};
  }
};

// kF8E4M3 or kI8: of normal rows. kU8: two codes of 4 bits a byte, all of them as likely, in groups
// of `group_size`.
HostWeight RandomWeight(Rng& rng, DType codes, int64_t out, int64_t in, int64_t group_size);

// Random rows that fit a weight in fp8: numbers that fp8 has, in the dtype that the backend
// multiplies where activations are `activation`.
HostTensor RandomRoundedRows(Device& device,
                             Rng& rng,
                             std::vector<int64_t> shape,
                             DType activation);

// Bytes that multiplying by the weight has to read.
double BytesOf(DType codes, int64_t out, int64_t in, int64_t group_size);

}  // namespace longhand::conformance
