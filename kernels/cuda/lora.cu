// y[i] += scales[n] * B[n] * (A[n, p] * x[i]), for the rows that have an adapter n.
//
//   x         [T, in_features]                    f32, bf16 or fp8
//   x_scale   [T]                                 f32, or absent: of the rows of x
//   adapters  [T]                                 i32
//   a         [adapters, parts, R, in_features]   f32 or bf16
//   b         [adapters, R, columns]              as a
//   ranks     [adapters, parts]                   i32
//   scales    [adapters]                          f32
//   mid       [T, parts * R]                      f32, between the two kernels
//   y         [T, columns]                        f32 or bf16, in and out; summed in f32
//
// A warp sums one element of mid, each lane one chain over groups of eight k, joined in one order;
// a column's sum is one chain over the rank. So a row has the same bits in any company.
//
// Launch     mid: grid (T, parts * R / 8), a warp for each row of A; y: grid (T, columns / 256).
//            Blocks of rows without an adapter end at once.
// Alignment  rows of 16 bytes use wide loads; others go by elements, in the same order.
// Cost       few rows: reads their adapters' matrices. Many: the same from L2, once a row.
// Errors     kInternal when a launch fails; adapters and ranks are trusted.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/kv_bytes.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

struct Shape {
  int64_t in_features, columns;
  int parts, rank;
  int64_t part_ends[kMaxLoraParts];
};

template <typename X, typename W, bool kAligned>
__global__ void __launch_bounds__(kThreads) MidKernel(const X* x,
                                                      const float* x_scale,
                                                      const int32_t* adapters,
                                                      const W* a,
                                                      const int32_t* ranks,
                                                      Shape shape,
                                                      float* mid) {
  const int64_t token = blockIdx.x;
  const int adapter = adapters[token];
  if (adapter < 0) return;
  const int row = blockIdx.y * kWarps + threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int part = row / shape.rank;
  if (row % shape.rank >= ranks[adapter * shape.parts + part]) return;
  const int64_t in_features = shape.in_features;
  x += token * in_features;
  a += (int64_t{adapter} * shape.parts * shape.rank + row) * in_features;
  float sum = 0;
  for (int64_t k = lane * kGroup; k < in_features; k += kWarpSize * kGroup) {
    float xs[kGroup], as[kGroup];
    LoadGroup<kAligned>(x + k, in_features - k, xs);
    LoadGroup<kAligned>(a + k, in_features - k, as);
    for (int i = 0; i < kGroup; ++i) sum = fmaf(xs[i], as[i], sum);
  }
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, step);
  }
  if (x_scale != nullptr) sum = __fmul_rn(sum, x_scale[token]);
  if (lane == 0) mid[token * shape.parts * shape.rank + row] = sum;
}

template <typename Y, typename W>
__global__ void __launch_bounds__(kThreads) DeltaKernel(const float* mid,
                                                        const int32_t* adapters,
                                                        const W* b,
                                                        const int32_t* ranks,
                                                        const float* scales,
                                                        Shape shape,
                                                        Y* y) {
  const int64_t token = blockIdx.x;
  const int adapter = adapters[token];
  if (adapter < 0) return;
  const int64_t column = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (column >= shape.columns) return;
  int part = 0;
#pragma unroll
  for (int p = 0; p + 1 < kMaxLoraParts; ++p) {
    if (p + 1 < shape.parts && column >= shape.part_ends[p]) part = p + 1;
  }
  const int rank = ranks[adapter * shape.parts + part];
  if (rank == 0) return;
  mid += (token * shape.parts + part) * shape.rank;
  b += int64_t{adapter} * shape.rank * shape.columns + column;
  float sum = 0;
  for (int r = 0; r < rank; ++r) sum = fmaf(mid[r], ToFloat(b[r * shape.columns]), sum);
  Y& to = y[token * shape.columns + column];
  to = FromFloat<Y>(fmaf(scales[adapter], sum, ToFloat(to)));
}

}  // namespace

Status Lora(Context& context, const LoraArgs& args) {
  const int64_t num_tokens = args.x.dim(0);
  if (num_tokens == 0 || args.y.dim(1) == 0) return OkStatus();
  Shape shape{.in_features = args.x.dim(1),
              .columns = args.y.dim(1),
              .parts = static_cast<int>(args.a.dim(1)),
              .rank = static_cast<int>(args.a.dim(2)),
              .part_ends = {}};
  for (int part = 0; part < kMaxLoraParts; ++part) shape.part_ends[part] = args.part_ends[part];
  const bool aligned =
      RowsAreAligned(args.x, shape.in_features) && RowsAreAligned(args.a, shape.in_features);
  const auto rows = static_cast<unsigned>(num_tokens);
  return WithDeviceType(args.a.dtype(), [&](auto w) {
    using W = decltype(w);
    const auto multiply = [&](auto x) {
      using X = decltype(x);
      const dim3 grid(rows, static_cast<unsigned>(shape.parts * shape.rank / kWarps));
      return Launch("Lora", context.stream, {grid, kThreads},
                    aligned ? &MidKernel<X, W, true> : &MidKernel<X, W, false>, Elements<X>(args.x),
                    Elements<float>(args.x_scale), Elements<int32_t>(args.adapters),
                    Elements<W>(args.a), Elements<int32_t>(args.ranks), shape,
                    Elements<float>(args.mid));
    };
    LONGHAND_RETURN_IF_ERROR(args.x.dtype() == DType::kF8E4M3
                                 ? multiply(DeviceFp8{})
                                 : WithDeviceType(args.x.dtype(), multiply));
    return WithDeviceType(args.y.dtype(), [&](auto y) {
      using Y = decltype(y);
      const dim3 grid(rows, static_cast<unsigned>(CeilDiv(shape.columns, kThreads)));
      return Launch("Lora", context.stream, {grid, kThreads}, &DeltaKernel<Y, W>,
                    Elements<float>(args.mid), Elements<int32_t>(args.adapters),
                    Elements<W>(args.b), Elements<int32_t>(args.ranks),
                    Elements<float>(args.scales), shape, Elements<Y>(args.y));
    });
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
