// Addition, SwiGLU and GELU: each element by itself.
//
//   Add     x [n] += y [n]                                       f32 or bf16
//   SwiGlu  out [rows, width] = silu(gate) * up of gate_up [rows, 2 * width]
//   Gelu    x [n] = gelu(x), the exact form
//
// Launch     256 threads; a thread takes eight neighbours.
// Alignment  16 bytes use wide loads; other tensors go by elements.
// Cost       each element is read and written once: memory.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t GlobalThread() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

LaunchShape ShapeFor(int64_t num_threads) {
  return {static_cast<unsigned>(CeilDiv(num_threads, kThreads)), kThreads, 0,
          /*begins_early=*/true};
}

template <typename A, bool kAligned>
__global__ void __launch_bounds__(kThreads) AddKernel(A* x, const A* y, int64_t count) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t i = GlobalThread() * kGroup;
  if (i >= count) return;
  float a[kGroup], b[kGroup];
  LoadGroup<kAligned>(x + i, count - i, a);
  LoadGroup<kAligned>(y + i, count - i, b);
  for (int j = 0; j < kGroup; ++j) a[j] += b[j];
  StoreGroup<kAligned>(x + i, count - i, a);
}

template <typename A, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    SwiGluKernel(const A* gate_up, int64_t num_rows, int64_t width, A* out) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t groups_per_row = CeilDiv(width, kGroup);
  const int64_t row = GlobalThread() / groups_per_row;
  const int64_t i = GlobalThread() % groups_per_row * kGroup;
  if (row >= num_rows) return;
  float gate[kGroup], up[kGroup];
  LoadGroup<kAligned>(gate_up + row * 2 * width + i, width - i, gate);
  LoadGroup<kAligned>(gate_up + (row * 2 + 1) * width + i, width - i, up);
  for (int j = 0; j < kGroup; ++j) gate[j] = SwiGluOf(gate[j], up[j]);
  StoreGroup<kAligned>(out + row * width + i, width - i, gate);
}

template <typename A, bool kAligned>
__global__ void __launch_bounds__(kThreads) GeluKernel(A* x, int64_t count) {
  LetNextBegin();
  WaitForPrevious();
  constexpr float kRootHalf = 0.70710678118654752f;
  const int64_t i = GlobalThread() * kGroup;
  if (i >= count) return;
  float values[kGroup];
  LoadGroup<kAligned>(x + i, count - i, values);
  for (int j = 0; j < kGroup; ++j) values[j] = 0.5f * values[j] * erfcf(-values[j] * kRootHalf);
  StoreGroup<kAligned>(x + i, count - i, values);
}

}  // namespace

Status Add(Context& context, const AddArgs& args) {
  const int64_t count = args.x.num_elements();
  if (count == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.x, count) && RowsAreAligned(args.y, count);
  return WithDeviceType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    return Launch("Add", context.stream, ShapeFor(CeilDiv(count, kGroup)),
                  aligned ? &AddKernel<A, true> : &AddKernel<A, false>, Elements<A>(args.x),
                  Elements<A>(args.y), count);
  });
}

Status SwiGlu(Context& context, const SwiGluArgs& args) {
  const int64_t num_rows = args.out.dim(0), width = args.out.dim(1);
  if (args.out.num_elements() == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.gate_up, width) && RowsAreAligned(args.out, width);
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    using A = decltype(type);
    return Launch("SwiGlu", context.stream, ShapeFor(num_rows * CeilDiv(width, kGroup)),
                  aligned ? &SwiGluKernel<A, true> : &SwiGluKernel<A, false>,
                  Elements<A>(args.gate_up), num_rows, width, Elements<A>(args.out));
  });
}

Status Gelu(Context& context, const GeluArgs& args) {
  const int64_t count = args.x.num_elements();
  if (count == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.x, count);
  return WithDeviceType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    return Launch("Gelu", context.stream, ShapeFor(CeilDiv(count, kGroup)),
                  aligned ? &GeluKernel<A, true> : &GeluKernel<A, false>, Elements<A>(args.x),
                  count);
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
