// out = x / sqrt(mean(x^2) + eps) * weight, after residual += x and x = residual where there is
// one; with a scale then rounded, as QuantizeRows does.
//
//   x         [num_tokens, hidden_size]  f32 or bf16
//   residual  [num_tokens, hidden_size]  as x, in and out; or absent
//   weight    [hidden_size]              f32
//   out       [num_tokens, hidden_size]  as x; may be x. With a scale also fp8
//   scale     [num_tokens]               f32, or absent
//
// Launch     a block of 256 threads for each row; a thread takes groups of eight elements.
// Alignment  rows of 16 bytes use wide loads; others go by elements, in the same order.
// Cost       reads and writes each row once or, with a residual, twice: memory. Rounding reads it
// once more, from L2. Errors     kInternal when the launch fails.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/rms_norm_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

template <typename A, typename Out, bool kAligned>
__global__ void __launch_bounds__(kNormThreads, 6) RmsNormKernel(const A* x,
                                                                 A* residual,
                                                                 const float* weight,
                                                                 int64_t hidden_size,
                                                                 float eps,
                                                                 Out* out,
                                                                 float* scale) {
  __shared__ float scratch[kWarpSize];
  LetNextBegin();
  WaitForPrevious();
  const int64_t row = blockIdx.x * hidden_size;
  const auto norm = [&](auto of_row) {
    NormRow<A, kAligned>(
        [&](int64_t i, int64_t left, float (&values)[kGroup]) {
          LoadGroup<kAligned>(x + row + i, left, values);
        },
        of_row, weight, hidden_size, eps, out + row,
        scale != nullptr ? scale + blockIdx.x : nullptr, scratch);
  };
  residual != nullptr ? norm(residual + row) : norm(nullptr);
}

// The same of rows of up to kHeld groups a thread, which stay in registers. Weights come while the
// kernel before ends.
template <typename A, bool kAligned, int kHeld>
__global__ void __launch_bounds__(kNormThreads, kHeld == 2 ? 4 : 2) HeldRmsNormKernel(
    const A* x, A* residual, const float* weight, int64_t hidden_size, float eps, A* out) {
  __shared__ float scratch[kWarpSize];
  const int64_t row = blockIdx.x * hidden_size;
  const auto for_groups = [&](auto fn) {
#pragma unroll
    for (int n = 0; n < kHeld; ++n) {
      const int64_t i = (static_cast<int64_t>(n) * kNormThreads + threadIdx.x) * kGroup;
      if (i < hidden_size) fn(n, i, hidden_size - i);
    }
  };
  float values[kHeld][kGroup], weights[kHeld][kGroup], sum = 0;
  LetNextBegin();
  for_groups(
      [&](int n, int64_t i, int64_t left) { LoadGroup<kAligned>(weight + i, left, weights[n]); });
  WaitForPrevious();
  for_groups([&](int n, int64_t i, int64_t left) {
    LoadGroup<kAligned>(x + row + i, left, values[n]);
    if (residual != nullptr) AddToResidual<A, kAligned>(residual + row + i, left, values[n]);
    for (int j = 0; j < kGroup; ++j) sum = fmaf(values[n][j], values[n][j], sum);
  });
  const float factor = NormFactor(sum, hidden_size, eps, scratch);
  for_groups([&](int n, int64_t i, int64_t left) {
    for (int j = 0; j < kGroup; ++j) values[n][j] = values[n][j] * factor * weights[n][j];
    StoreGroup<kAligned>(out + row + i, left, values[n]);
  });
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
    const auto launch = [&](auto* out) {
      using Out = std::remove_pointer_t<decltype(out)>;
      return Launch("RmsNorm", context.stream,
                    {static_cast<unsigned>(num_tokens), kNormThreads, 0, /*begins_early=*/true},
                    aligned ? &RmsNormKernel<A, Out, true> : &RmsNormKernel<A, Out, false>,
                    Elements<A>(args.x), Elements<A>(args.residual), Elements<float>(args.weight),
                    hidden_size, args.eps, out, Elements<float>(args.scale));
    };
    const auto launch_held = [&](auto held) {
      constexpr int kHeld = decltype(held)::value;
      return Launch(
          "RmsNorm", context.stream,
          {static_cast<unsigned>(num_tokens), kNormThreads, 0, /*begins_early=*/true},
          aligned ? &HeldRmsNormKernel<A, true, kHeld> : &HeldRmsNormKernel<A, false, kHeld>,
          Elements<A>(args.x), Elements<A>(args.residual), Elements<float>(args.weight),
          hidden_size, args.eps, Elements<A>(args.out));
    };
    if (args.out.dtype() == DType::kF8E4M3) return launch(Elements<DeviceFp8>(args.out));
    constexpr int64_t kOneEach = kNormThreads * kGroup;
    if (args.scale.data() != nullptr || hidden_size > 4 * kOneEach) {
      return launch(Elements<A>(args.out));
    }
    return hidden_size > 2 * kOneEach ? launch_held(std::integral_constant<int, 4>())
                                      : launch_held(std::integral_constant<int, 2>());
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
