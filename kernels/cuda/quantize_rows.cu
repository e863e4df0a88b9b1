// Rounds each row to the numbers that fp8 has, its largest magnitude as 448.
//
//   x      [num_rows, width]  f32 or bf16
//   out    [num_rows, width]  as x, and may be x; or fp8
//   scale  [num_rows]         f32
//
// Launch     a block of 256 threads for each row; a thread takes groups of eight elements.
// Alignment  rows of 16 bytes use wide loads; others go by elements.
// Cost       reads each row twice, the second time from L2, and writes it once; at few rows the
//            launch.
// Errors     kInternal when the launch fails.
#include <type_traits>

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/rounded_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;

template <typename A, typename Out, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    QuantizeKernel(const A* x, int64_t width, Out* out, float* scale) {
  LetNextBegin();
  WaitForPrevious();
  __shared__ float scratch[kWarpSize];
  const int64_t row = blockIdx.x * width;
  RoundRow<kThreads, kAligned>(
      [&](int64_t i, int64_t left, float (&values)[kGroup]) {
        LoadGroup<kAligned>(x + row + i, left, values);
      },
      width, out + row, scale + blockIdx.x, scratch);
}

}  // namespace

Status QuantizeRows(Context& context, const QuantizeRowsArgs& args) {
  const int64_t num_rows = args.x.dim(0), width = args.x.dim(1);
  if (num_rows == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.x, width) && RowsAreAligned(args.out, width);
  return WithDeviceType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    const auto launch = [&](auto* out) {
      using Out = std::remove_pointer_t<decltype(out)>;
      return Launch("QuantizeRows", context.stream,
                    {static_cast<unsigned>(num_rows), kThreads, 0, /*begins_early=*/true},
                    aligned ? &QuantizeKernel<A, Out, true> : &QuantizeKernel<A, Out, false>,
                    Elements<A>(args.x), width, out, Elements<float>(args.scale));
    };
    return args.out.dtype() == DType::kF8E4M3 ? launch(Elements<DeviceFp8>(args.out))
                                              : launch(Elements<A>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
