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
#include "kernels/cuda/element.h"
#include "kernels/cuda/kv_bytes.h"
#include "kernels/cuda/reduce.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;

template <bool kAligned>
__device__ __forceinline__ void StoreCodes(DeviceFp8* p, int64_t count, const uint32_t (&words)[2]) {
  if constexpr (kAligned) {
    *reinterpret_cast<uint2*>(p) = {words[0], words[1]};
  } else {
    for (int i = 0; i < kGroup && i < count; ++i) {
      p[i] = {static_cast<uint8_t>(words[i / 4] >> i % 4 * 8)};
    }
  }
}

template <typename A, typename Out, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    QuantizeKernel(const A* x, int64_t width, Out* out, float* scale) {
  constexpr uint32_t kNan = 0x7f;
  __shared__ float scratch[kWarpSize];
  const int64_t row = blockIdx.x * width;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * kGroup, step = kThreads * kGroup;
  float largest = 0;
  for (int64_t i = first; i < width; i += step) {
    float values[kGroup];
    LoadGroup<kAligned>(x + row + i, width - i, values);
    for (int j = 0; j < kGroup; ++j) largest = fmaxf(largest, fabsf(values[j]));
  }
  largest = ReduceBlock(largest, scratch, [](float a, float b) { return fmaxf(a, b); });
  const DeviceRowScale by(largest, /*fp8=*/true);
  // A thread reads again what it has read itself.
  for (int64_t i = first; i < width; i += step) {
    float values[kGroup];
    LoadGroup<kAligned>(x + row + i, width - i, values);
    uint32_t codes[2] = {};
    for (int j = 0; j < kGroup; ++j) {
      const float stored = __fmul_rn(values[j], by.inverse);
      const uint32_t code = isnan(stored) ? kNan : ToByte(stored, true);
      codes[j / 4] |= code << j % 4 * 8;
      values[j] = isnan(stored) ? stored : ByteOf<0>(code, true);
    }
    if constexpr (std::is_same_v<Out, DeviceFp8>) {
      StoreCodes<kAligned>(out + row + i, width - i, codes);
    } else {
      StoreGroup<kAligned>(out + row + i, width - i, values);
    }
  }
  if (threadIdx.x == 0) scale[blockIdx.x] = by.scale;
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
      return Launch("QuantizeRows", context.stream, {static_cast<unsigned>(num_rows), kThreads},
                    aligned ? &QuantizeKernel<A, Out, true> : &QuantizeKernel<A, Out, false>,
                    Elements<A>(args.x), width, out, Elements<float>(args.scale));
    };
    return args.out.dtype() == DType::kF8E4M3 ? launch(Elements<DeviceFp8>(args.out))
                                              : launch(Elements<A>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
