// Copies KV blocks within a cache, or between it and page-locked host memory, which the device
// reaches at its own address.
//
//   from, to  [2, num_blocks, ...]  any dtype; one block's keys, or values, lie side by side
//   pairs     [n, 2]                i32: from, to
//
// Launch     grid (n, 2), 256 threads: a block of keys, and one of values.
// Alignment  16 bytes are copied at once where addresses and sizes allow.
// Cost       reads and writes each byte once: memory, or the bus to the host.
// Errors     kInternal when the launch fails; block ids are trusted.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;

template <typename Unit>
__global__ void __launch_bounds__(kThreads) CopyBlocksKernel(const Unit* from,
                                                             Unit* to,
                                                             const int32_t* pairs,
                                                             int64_t num_from,
                                                             int64_t num_to,
                                                             int64_t block_units) {
  const int64_t side = blockIdx.y;
  from += (side * num_from + pairs[2 * blockIdx.x]) * block_units;
  to += (side * num_to + pairs[2 * blockIdx.x + 1]) * block_units;
  for (int64_t i = threadIdx.x; i < block_units; i += kThreads) to[i] = from[i];
}

template <typename Unit>
Status LaunchCopy(Context& context, const CopyBlocksArgs& args, int64_t block_bytes) {
  return Launch("CopyBlocks", context.stream,
                {dim3{static_cast<unsigned>(args.pairs.dim(0)), 2, 1}, kThreads},
                &CopyBlocksKernel<Unit>, Elements<Unit>(args.from), Elements<Unit>(args.to),
                Elements<int32_t>(args.pairs), args.from.dim(1), args.to.dim(1),
                block_bytes / static_cast<int64_t>(sizeof(Unit)));
}

}  // namespace

Status CopyBlocks(Context& context, const CopyBlocksArgs& args) {
  if (args.pairs.dim(0) == 0 || args.from.num_elements() == 0) return OkStatus();
  const auto block_bytes = static_cast<int64_t>(args.from.num_bytes()) / (2 * args.from.dim(1));
  const uintptr_t bits = reinterpret_cast<uintptr_t>(args.from.data()) |
                         reinterpret_cast<uintptr_t>(args.to.data()) |
                         static_cast<uintptr_t>(block_bytes);
  if (bits % 16 == 0) return LaunchCopy<uint4>(context, args, block_bytes);
  if (bits % 4 == 0) return LaunchCopy<uint32_t>(context, args, block_bytes);
  return LaunchCopy<uint8_t>(context, args, block_bytes);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
