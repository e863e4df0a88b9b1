// out = x / sqrt(mean(x^2) + eps) * weight, after residual += x and x = residual where there is
// one.
//
//   x         [num_tokens, hidden_size]  f32 or bf16
//   residual  [num_tokens, hidden_size]  as x, in and out; or absent
//   weight    [hidden_size]              f32
//   out       [num_tokens, hidden_size]  as x; may be x
//
// Launch     a block of 256 threads for each row; a thread takes groups of eight elements.
// Alignment  rows of 16 bytes use wide loads; others go by elements, in the same order.
// Cost       reads and writes each row once or, with a residual, twice: memory.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/rms_norm_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

template <typename A, bool kAligned>
__global__ void __launch_bounds__(kNormThreads) RmsNormKernel(
    const A* x, A* residual, const float* weight, int64_t hidden_size, float eps, A* out) {
  __shared__ float scratch[kWarpSize];
  const int64_t row = blockIdx.x * hidden_size;
  NormRow<A, kAligned>(
      [&](int64_t i, int64_t left, float (&values)[kGroup]) {
        LoadGroup<kAligned>(x + row + i, left, values);
      },
      residual != nullptr ? residual + row : nullptr, weight, hidden_size, eps, out + row, scratch);
}

}  // namespace

Status RmsNorm(Context& context, const RmsNormArgs& args) {
  const int64_t num_tokens = args.x.dim(0), hidden_size = args.x.dim(1);
  if (num_tokens == 0) return OkStatus();
  const bool aligned =
      RowsAreAligned(args.x, hidden_size) && RowsAreAligned(args.residual, hidden_size) &&
      RowsAreAligned(args.weight, hidden_size) && RowsAreAligned(args.out, hidden_size);
  return WithDeviceType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    return Launch("RmsNorm", context.stream, {static_cast<unsigned>(num_tokens), kNormThreads},
                  aligned ? &RmsNormKernel<A, true> : &RmsNormKernel<A, false>, Elements<A>(args.x),
                  Elements<A>(args.residual), Elements<float>(args.weight), hidden_size, args.eps,
                  Elements<A>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
