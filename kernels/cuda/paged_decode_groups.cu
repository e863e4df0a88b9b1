// Decode attention by wgmma and the copy engine: what paged_decode.cu does, with its bits.
//
// Tensors as there: bf16, head_dim 128. A block takes one item of the list (decode_list.h) after
// the other: four warps multiply (decode_multiplier.h), a fifth one copies tiles of keys and values
// into a ring (decode_copier.h), and they wait for each other by barriers in shared memory. Who
// comes last for a sequence and KV head joins its splits (decode_join.h).
//
// Launch     three blocks of 160 threads a multiprocessor; 75 KiB each.
// Alignment  16-byte rows. block_size: 16, 32, 64 and multiples of 64.
// Cost       as paged_decode.cu: memory.
// Workspace  paged_decode.cu's.
// Errors     kInternal where the driver has no map of the cache, or the launch fails.
#include <algorithm>

#include "kernels/cuda/decode_copier.h"
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/decode_multiplier.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

using Problem = PagedProblem<DecodeGroupTypes>;

constexpr int kThreads = kDecodeGroupThreads + kWarpSize, kBlocksPerMultiprocessor = 3;

__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    GroupDecodeKernel(const __grid_constant__ TensorMap cache, Problem problem, Partials partials) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  auto& memory =
      *reinterpret_cast<DecodeGroupMemory*>(AlignShared<kAtomBytes>(DynamicShared<char>()));
  LetNextBegin();
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kRingTiles; ++stage) {
      Prepare(memory.keys_there[stage], 1);
      Prepare(memory.values_there[stage], 1);
      Prepare(memory.keys_free[stage], kDecodeWarps);
      Prepare(memory.values_free[stage], kDecodeWarps);
    }
    for (int place = 0; place < DecodeItems::kPlaces; ++place) {
      Prepare(memory.items_there[place], 1);
      Prepare(memory.items_free[place], kDecodeGroupThreads);
    }
    PublishPrepared();
  }
  __syncthreads();
  WaitForPrevious();
  if (Uniform(static_cast<int>(threadIdx.x) / kWarpSize) == kDecodeWarps) {
    DecodeCopier(problem, cache, partials.queue, memory).Run();
  } else {
    DecodeMultiplier(problem, partials, memory).Run();
  }
#endif
}

}  // namespace

bool MayDecodeByGroups(const PagedAttentionArgs& args) {
  return args.query.dtype() == DType::kBf16 && args.kv_cache.dtype() == DType::kBf16 &&
         args.query.dim(2) == DecodeGroupTypes::kHeadDim && HasBoxes(args.kv_cache.dim(2));
}

Status PagedDecodeByGroups(Context& context, const PagedAttentionArgs& args, Share share) {
  const Problem problem = MakeProblem<DecodeGroupTypes>(args, share);
  LONGHAND_ASSIGN_OR_RETURN(const TensorMap cache, MapOfCache(problem));
  LONGHAND_ASSIGN_OR_RETURN(const Partials partials, TakePartials(context, problem));
  const auto blocks = static_cast<unsigned>(std::min(
      problem.MostItems(), int64_t{kBlocksPerMultiprocessor} * context.stream.num_multiprocessors));
  return Launch("PagedDecodeGroups", context.stream,
                {blocks, kThreads, DecodeGroupMemory::Bytes(), /*begins_early=*/true},
                &GroupDecodeKernel, cache, problem, partials);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
