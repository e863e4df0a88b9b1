// out = x * weight^T + bias for many rows with wgmma, of sm_90a.
//
//   x       [T, in_features]             bf16, or fp8 with fp8 weights; rows at 16 bytes
//   weight  packed (packed_weight.h)     bf16, fp8 or int4
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            bf16 or f32; summed in f32
//
// A row's sum has the bits that linear_skinny.cu gives it, where linear.cu's trial found that wgmma
// writes mma.sync's: products of 16 k in order, the sums of the parts of k added in order.
//
// Launch     a block a multiprocessor, going through several tiles of 128 features and 32 (codes),
// 64,
//            128 or 192 tokens: two warpgroups that multiply, 64 features each, and a thread that
//            has the copy engine fill a ring of stages of 64 k, which goes on over the ends of
//            tiles. What is left of tiles after the last full round may be taken by parts of k,
//            whose sums the last block of a tile adds.
// Cost       2 T * in_features * out_features operations: tensor cores.
// Errors     kResourceExhausted without room for sums or rows, kInternal when the launch fails.
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/linear_tile.h"
#include "kernels/cuda/wgmma.h"
#include "kernels/cuda/wgmma_ring.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kMultipliers = 256;  // threads that multiply: the first ones
constexpr int kThreads = kMultipliers + 128;

// fp8 is multiplied as f16, both operands.
template <typename Format>
constexpr bool kIsF16 = std::is_same_v<Format, Fp8Weights>;

// Products of one part's blocks of k. One group of them stays in flight over the end of a stage,
// which is given back after that.
template <typename Format, int kTokens>
__device__ __forceinline__ void MultiplyPart(const WgmmaRing<Format, kTokens>& ring,
                                             RingPosition<WgmmaRing<Format, kTokens>::kStages>& at,
                                             int num_blocks,
                                             TileSums (&sum)[kTokens / 8]) {
  using Ring = WgmmaRing<Format, kTokens>;
  constexpr int kGroupTiles = 4;  // of weights, for a warpgroup
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const auto give_back_previous = [&] {
    if (lane == 0) Arrive(ring.emptied[(at.stage == 0 ? Ring::kStages : at.stage) - 1]);
  };
  uint32_t a[2][2][4];
#pragma unroll 1
  for (int block = 0; block < num_blocks; ++block) {
    WaitFor(ring.filled[at.stage], at.parity);
    const SharedMatrix x = MatrixInShared(ring.X(at.stage));
    if constexpr (std::is_same_v<Format, Bf16Weights>) {
      const SharedMatrix rows = MatrixInShared(ring.Weights(at.stage, warp / 4 * kGroupTiles));
      BeginWgmma(sum);
#pragma unroll
      for (int step = 0; step < kBlockK / 16; ++step) {
        MultiplyShared(sum, AtStep(rows, step), AtStep(x, step), true);
      }
      CommitWgmma();
      WaitForWgmma<1>();
      if (block > 0) give_back_previous();
    } else {
      const unsigned char* tile = ring.Weights(at.stage, warp);
      // Words, which it expects behind a tile.
      const typename Format::Groups groups(ring.Words(at.stage, warp) - Format::kBytes, lane);
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        // All but the last pair's products are done: with its operands' registers, and with the
        // stage before.
        WaitForWgmma<1>();
        if (pair == 1 && block > 0) give_back_previous();
        Format::LoadPair(tile, pair, lane, groups, a[pair]);
        BeginWgmma(sum);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          MultiplyRegisters<kIsF16<Format>>(sum, a[pair][half], AtStep(x, 2 * pair + half), true);
        }
        CommitWgmma();
      }
    }
    at.Advance();
  }
  WaitForWgmma<0>();
  PinSums(sum);
  give_back_previous();
}

template <typename Format, int kTokens, typename Out>
__global__ void __launch_bounds__(kThreads, 1) WgmmaKernel(const __grid_constant__ WgmmaMaps maps,
                                                           TensorCoreProblem problem,
                                                           WgmmaUnits units,
                                                           Out* out) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Ring = WgmmaRing<Format, kTokens>;
  constexpr int kSums = kTokens / 8;
  constexpr int kMultiplierRegisters = 232, kCopierRegisters = 40;
  LetNextBegin();
  const Ring ring(DynamicShared<unsigned char>());
  const KParts parts = problem.parts;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Ring::kStages; ++i) {
      Prepare(ring.filled[i], 1);
      Prepare(ring.emptied[i], kMultipliers / kWarpSize);
    }
    PublishPrepared();
  }
  __syncthreads();
  if (threadIdx.x >= kMultipliers) {
    GiveRegisters<kCopierRegisters>();
    if (threadIdx.x == kMultipliers) {
      WgmmaCopies<Format, kTokens>(ring, maps, problem).Run(units, parts);
    }
  } else {
    TakeRegisters<kMultiplierRegisters>();
    WaitForPrevious();
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
    RingPosition<Ring::kStages> at;
#pragma unroll 1
    for (int idx = blockIdx.x; idx < units.num_units; idx += gridDim.x) {
      const WgmmaUnit unit = UnitAt<kTokens>(units, parts, idx);
      TileSums total[kSums];
#pragma unroll 1
      for (int part = unit.first_part; part < unit.end_part; ++part) {
        const int begin = part * parts.blocks_per_part;
        const int end = min(begin + parts.blocks_per_part, parts.num_blocks);
        TileSums sum[kSums] = {};
        MultiplyPart<Format, kTokens>(ring, at, end - begin, sum);
        AddPart(sum, part == unit.first_part, total);
      }
      if (unit.meeting >= 0 &&
          !JoinParts<kMultipliers>(
              units.meetings.arrived + unit.meeting,
              units.meetings.sums + int64_t{unit.meeting} * parts.num_parts * kSums * kMultipliers,
              unit.first_part, parts.num_parts, total)) {
        continue;
      }
      StoreSums<Format>(problem, unit.first_feature + warp * kTileFeatures, unit.first_token, lane,
                        total, out);
    }
  }
#endif
}

template <typename Format>
constexpr const char* kNameOf = std::is_same_v<Format, Int4Weights>  ? "LinearWgmmaInt4"
                                : std::is_same_v<Format, Fp8Weights> ? "LinearWgmmaFp8"
                                                                     : "LinearWgmma";

template <typename Format, int kTokens, typename Out>
Status LaunchWgmma(Context& context, const TensorCoreProblem& problem, WgmmaUnits units, Out* out) {
  if (units.num_whole < units.num_units) {
    LONGHAND_ASSIGN_OR_RETURN(units.meetings, TakeMeetings(context));
  }
  const void* x = problem.x;
  int64_t width = problem.in_features;
  if constexpr (kIsF16<Format>) {
    width = CeilDiv(width, kBlockK) * kBlockK;
    LONGHAND_ASSIGN_OR_RETURN(void* const halves,
                              context.linear.halves.Take(context.stream, kHalvesBytes));
    LONGHAND_RETURN_IF_ERROR(Fp8RowsToHalves(context.stream, problem.x, problem.num_tokens,
                                             problem.in_features, halves));
    x = halves;
  }
  LONGHAND_ASSIGN_OR_RETURN(const WgmmaMaps maps, MapsOf<Format>(problem, x, width, kTokens));
  const int blocks = std::min(units.num_units, context.stream.num_multiprocessors);
  const LaunchShape shape = {.grid = static_cast<unsigned>(blocks),
                             .block = kThreads,
                             .shared_bytes = WgmmaRing<Format, kTokens>::kBytes,
                             .begins_early = true};
  return Launch(kNameOf<Format>, context.stream, shape, &WgmmaKernel<Format, kTokens, Out>, maps,
                problem, units, out);
}

template <typename Format, typename Out>
Status LaunchFormat(Context& context, const TensorCoreProblem& problem, Out* out) {
  const auto cut_for = [&](int tokens) {
    constexpr int kWeightBytes = kWgmmaFeatures / kTileFeatures * Format::kBytes;
    return CutFor(problem, tokens, kWeightBytes, context.stream.num_multiprocessors);
  };
  if constexpr (!std::is_same_v<Format, Bf16Weights>) {
    if (problem.num_tokens <= 32) {
      return LaunchWgmma<Format, 32>(context, problem, cut_for(32).units, out);
    }
  }
  if (problem.num_tokens <= 64) {
    return LaunchWgmma<Format, 64>(context, problem, cut_for(64).units, out);
  }
  const WgmmaCut narrow = cut_for(128), wide = cut_for(192);
  return narrow.ns < wide.ns ? LaunchWgmma<Format, 128>(context, problem, narrow.units, out)
                             : LaunchWgmma<Format, 192>(context, problem, wide.units, out);
}

}  // namespace

Status LinearWgmma(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const TensorCoreProblem problem = MakeProblem(args, weight);
  if (weight.format() == WeightFormat::kInt4) {
    return LaunchFormat<Int4Weights>(context, problem, Elements<DeviceBf16>(args.out));
  }
  if (weight.format() == WeightFormat::kFp8) {
    // Rows in slices, as many as there is room for.
    const int64_t row_bytes = problem.parts.num_blocks * kBlockK * 2;
    const int64_t width = problem.joins_gates ? problem.num_gates : problem.out_features;
    TensorCoreProblem slice = problem;
    for (int64_t first = 0; first < problem.num_tokens; first += slice.num_tokens) {
      slice.x = static_cast<const unsigned char*>(problem.x) + first * problem.in_features;
      slice.x_scale = problem.x_scale == nullptr ? nullptr : problem.x_scale + first;
      slice.num_tokens = std::min(problem.num_tokens - first, kHalvesBytes / row_bytes);
      LONGHAND_RETURN_IF_ERROR(
          LaunchFormat<Fp8Weights>(context, slice, Elements<DeviceBf16>(args.out) + first * width));
    }
    return OkStatus();
  }
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    return LaunchFormat<Bf16Weights>(context, problem, Elements<decltype(type)>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
