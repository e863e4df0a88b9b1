// Operations that move rows: embedding, gather, scatter.
//
//   Embedding    out [T, hidden_size] = table [rows, hidden_size][ids - first_id], zeros elsewhere;
//                an id may be an element of a history instead
//   GatherRows   out [m, width] = x[rows], any dtype
//   ScatterRows  out[rows] = x [m, width]
//
// Launch     a block of 128 threads for each row.
// Alignment  rows of 16 bytes use wide loads; others go by smaller units.
// Cost       each row is read and written once: memory.
// Errors     kInternal when the launch fails; row numbers are trusted.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 128;

LaunchShape OneBlockForEach(int64_t num_rows) {
  return {static_cast<unsigned>(num_rows), kThreads, 0, /*begins_early=*/true};
}

template <typename From, typename To, bool kAligned>
__device__ void CopyRow(const From* from, int64_t width, To* to) {
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kGroup; i < width; i += kThreads * kGroup) {
    float values[kGroup];
    LoadGroup<kAligned>(from + i, width - i, values);
    StoreGroup<kAligned>(to + i, width - i, values);
  }
}

template <typename From, typename To, bool kAligned>
__global__ void __launch_bounds__(kThreads) EmbeddingKernel(const int32_t* ids,
                                                            const int32_t* history,
                                                            const int64_t* history_idx,
                                                            const From* table,
                                                            int64_t first_id,
                                                            int64_t num_rows,
                                                            int64_t width,
                                                            To* out) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t from = history_idx == nullptr ? -1 : history_idx[blockIdx.x];
  const int64_t row = (from < 0 ? ids[blockIdx.x] : history[from]) - first_id;
  To* to = out + blockIdx.x * width;
  if (row >= 0 && row < num_rows)
    return CopyRow<From, To, kAligned>(table + row * width, width, to);
  for (int64_t i = threadIdx.x; i < width; i += kThreads) to[i] = FromFloat<To>(0.0f);
}

template <typename From, typename To, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    ScatterKernel(const From* x, const int32_t* rows, int64_t width, To* out) {
  LetNextBegin();
  WaitForPrevious();
  CopyRow<From, To, kAligned>(x + blockIdx.x * width, width, out + rows[blockIdx.x] * width);
}

// A row is `width` units.
template <typename Unit>
__global__ void __launch_bounds__(kThreads)
    GatherKernel(const Unit* x, const int32_t* rows, int64_t width, Unit* out) {
  LetNextBegin();
  WaitForPrevious();
  const Unit* from = x + rows[blockIdx.x] * width;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) out[blockIdx.x * width + i] = from[i];
}

template <typename Unit>
Status LaunchGather(Context& context, const GatherRowsArgs& args, int64_t row_bytes) {
  return Launch("GatherRows", context.stream, OneBlockForEach(args.rows.dim(0)),
                &GatherKernel<Unit>, Elements<Unit>(args.x), Elements<int32_t>(args.rows),
                row_bytes / static_cast<int64_t>(sizeof(Unit)), Elements<Unit>(args.out));
}

}  // namespace

Status Embedding(Context& context, const EmbeddingArgs& args) {
  const int64_t width = args.out.dim(1);
  if (args.out.num_elements() == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.table, width) && RowsAreAligned(args.out, width);
  return WithDeviceType(args.table.dtype(), [&](auto from) {
    return WithDeviceType(args.out.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      return Launch("Embedding", context.stream, OneBlockForEach(args.out.dim(0)),
                    aligned ? &EmbeddingKernel<From, To, true> : &EmbeddingKernel<From, To, false>,
                    Elements<int32_t>(args.ids), Elements<int32_t>(args.history),
                    Elements<int64_t>(args.history_idx), Elements<From>(args.table), args.first_id,
                    args.table.dim(0), width, Elements<To>(args.out));
    });
  });
}

Status GatherRows(Context& context, const GatherRowsArgs& args) {
  if (args.out.num_elements() == 0) return OkStatus();
  const auto row_bytes = args.x.dim(1) * static_cast<int64_t>(DTypeSize(args.x.dtype()));
  const uintptr_t bits = reinterpret_cast<uintptr_t>(args.x.data()) |
                         reinterpret_cast<uintptr_t>(args.out.data()) |
                         static_cast<uintptr_t>(row_bytes);
  if (bits % 16 == 0) return LaunchGather<uint4>(context, args, row_bytes);
  if (bits % 4 == 0) return LaunchGather<uint32_t>(context, args, row_bytes);
  if (bits % 2 == 0) return LaunchGather<uint16_t>(context, args, row_bytes);
  return LaunchGather<uint8_t>(context, args, row_bytes);
}

Status ScatterRows(Context& context, const ScatterRowsArgs& args) {
  const int64_t width = args.x.dim(1);
  if (args.x.num_elements() == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.x, width) && RowsAreAligned(args.out, width);
  return WithDeviceType(args.x.dtype(), [&](auto from) {
    return WithDeviceType(args.out.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      return Launch("ScatterRows", context.stream, OneBlockForEach(args.x.dim(0)),
                    aligned ? &ScatterKernel<From, To, true> : &ScatterKernel<From, To, false>,
                    Elements<From>(args.x), Elements<int32_t>(args.rows), width,
                    Elements<To>(args.out));
    });
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
