// out = x * weight^T + bias for up to 64 rows: weights stream by once, and warps wait for no other.
//
//   x       [T <= 64, in_features]       bf16; fp8 where the device multiplies it by fp8 weights
//   weight  packed (packed_weight.h)     bf16, fp8 or int4
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            bf16 or f32; summed in f32
//
// A warp takes 16 features and of them one part of k (KParts), whose sums the last warp of the
// features to end adds in order, or all parts one after the other: a unit. Features are the
// products' rows, tokens their columns, so that one token wastes no tensor core time that matters.
// A thread block has an equal share of all units, to one, and in shared memory what they read of x,
// and a ring of weights for each warp.
//
// Launch     grid one block a multiprocessor, up to 16 warps.
// Alignment  rows of x at 16 bytes are read by 16 bytes; others go by elements.
// Cost       reads in_features * out_features times 2 bytes (fp8 1, int4 17 / 32): memory. x comes
//            from L2, a part or two of it once for each multiprocessor.
// Errors     kResourceExhausted without room for sums, kInternal when the launch fails.
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/multiply_block.h"
#include "kernels/cuda/staged_x.h"
#include "kernels/cuda/streams_choice.h"
#include "kernels/cuda/weight_ring.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// A warp's sums of one part of k.
template <typename Format, int kTiles>
struct PartSums {
  // A stage's blocks of 64 k. The next block's operands are on their way while one is multiplied.
  template <int kStageBlocks>
  __device__ __forceinline__ void Add(const unsigned char* weights,
                                      const DeviceBf16* x,
                                      int count,
                                      int lane) {
    using Operands = BlockOperands<Format, kTiles>;
    const auto load = [&](int i) {
      return Operands(weights + i * Format::kStageBytes, x + i * (kTiles * kAtom), lane);
    };
    if (kStageBlocks == 1 || count < kStageBlocks) {
#pragma unroll 1
      for (int i = 0; i < min(count, kStageBlocks); ++i) {
        MultiplyBlock<Format, kTiles>(load(i), lane, sum);
      }
      return;
    }
    Operands next = load(0);
#pragma unroll
    for (int i = 0; i < kStageBlocks; ++i) {
      const Operands block = next;
      if (i + 1 < kStageBlocks) next = load(i + 1);
      MultiplyBlock<Format, kTiles>(block, lane, sum);
    }
  }

  TileSums sum[kTiles] = {};
};

template <typename Format, typename Out, int kTokens, int kStages>
__global__ void __launch_bounds__(kMaxWarps<kTokens>* kWarpSize, 1)
    StreamsKernel(const __grid_constant__ TensorCoreProblem problem,
                  const __grid_constant__ Streams streams,
                  Out* out) {
  constexpr int kTiles = kTokens / 8;
  using Ring = WeightRing<Format, kStages>;
  using X = typename Format::X;
  LetNextBegin();
  const KParts& parts = problem.parts;
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int num_warps = static_cast<int>(blockDim.x) / kWarpSize;
  auto* shared = AlignShared<kXAlignment>(DynamicShared<unsigned char>());
  auto* x = reinterpret_cast<DeviceBf16*>(shared);
  const UnitRange units = UnitsOfBlock(streams);
  Ring ring(problem, streams, units,
            shared + streams.x_blocks * kXBlockBytes<kTokens> + warp * Ring::kBytes);

  WaitForPrevious();
  int first_x_block = 0;  // that is there
  if (!streams.is_windowed && units.begin < units.end) {
    const StreamUnit first = StreamUnitAt(streams, parts, units.begin);
    const StreamUnit last = StreamUnitAt(streams, parts, units.end - 1);
    first_x_block = first.first_part * parts.blocks_per_part;
    StageX<X, kTokens, /*kInFlight=*/8>(problem, first_x_block,
                                        EndOfPart(parts, last.end_part - 1) - first_x_block, x);
    __syncthreads();
  }

  for (int first = units.begin; first < units.end; first += num_warps) {
    const int idx = first + warp;
    const bool exists = idx < units.end;
    if (!exists && !streams.is_windowed) break;
    const StreamUnit unit = StreamUnitAt(streams, parts, exists ? idx : first);
    TileSums total[kTiles] = {};
    for (int part = unit.first_part; part < unit.end_part; ++part) {
      PartSums<Format, kTiles> of_part;
      const int end = EndOfPart(parts, part);
      int window_end = streams.is_windowed ? part * parts.blocks_per_part : end;
#pragma unroll 1
      for (int block = part * parts.blocks_per_part; block < end; block += Ring::kStageBlocks) {
        if (block == window_end) {
          __syncthreads();  // all are done with the window before
          first_x_block = block;
          window_end = min(block + streams.x_blocks, end);
          StageX<X, kTokens, /*kInFlight=*/2>(problem, block, window_end - block, x);
          __syncthreads();
        }
        if (!exists) continue;
        const unsigned char* weights = ring.Take();
        const DeviceBf16* x_block = x + (block - first_x_block) * (kTiles * kAtom);
        of_part.template Add<Ring::kStageBlocks>(weights, x_block, end - block, lane);
      }
      AddPart(of_part.sum, part == unit.first_part, total);
    }
    if (!exists) continue;
    if (streams.by_parts) {
      LeavePart(streams.meetings.sums, parts, unit.tile, unit.first_part, lane, total);
    } else {
      StoreSums<Format>(problem, int64_t{unit.tile} * kTileFeatures, 0, lane, total, out);
    }
  }
  WaitForCopies<0>();
  if (!streams.by_parts) return;
  // All of a warp's parts meet the others at once: each lane arrives for one of them.
  for (int first = units.begin + warp; first < units.end; first += kWarpSize * num_warps) {
    const auto tile_of = [&](int i) {
      return StreamUnitAt(streams, parts, first + i * num_warps).tile;
    };
    unsigned complete = Arrive(streams.meetings.arrived, tile_of(lane), parts.num_parts,
                               first + lane * num_warps < units.end);
    while (complete != 0) {
      const int tile = tile_of(__ffs(static_cast<int>(complete)) - 1);
      complete &= complete - 1;
      TileSums total[kTiles];
      JoinLeftParts(streams.meetings.sums, parts, tile, lane, total);
      StoreSums<Format>(problem, int64_t{tile} * kTileFeatures, 0, lane, total, out);
    }
  }
}

template <typename Format, int kTokens>
StreamsChoice ChooseFor(const Context& context, const TensorCoreProblem& problem) {
  return Choose({.problem = problem,
                 .num_multiprocessors = context.stream.num_multiprocessors,
                 .shared_bytes = context.linear.shared_bytes - kSharedForKernels,
                 .tokens = kTokens,
                 .max_warps = kMaxWarps<kTokens>,
                 .block_bytes = Format::kStageBytes,
                 .ring_bytes = WeightRing<Format, kRingStages>::kBytes});
}

// fn(tokens), a constant: as many as the products have columns for.
template <typename Fn>
auto WithTokens(int64_t num_tokens, Fn&& fn) {
  if (num_tokens <= 8) return fn(std::integral_constant<int, 8>());
  if (num_tokens <= 16) return fn(std::integral_constant<int, 16>());
  if (num_tokens <= 32) return fn(std::integral_constant<int, 32>());
  return fn(std::integral_constant<int, kMaxSkinnyRows>());
}

template <typename Format, typename Out>
Status LaunchFormat(Context& context, const TensorCoreProblem& problem, Out* out) {
  return WithTokens(problem.num_tokens, [&](auto tokens) -> Status {
    constexpr int kTokens = decltype(tokens)::value;
    const StreamsChoice choice = ChooseFor<Format, kTokens>(context, problem);
    Streams streams = choice.streams;
    if (streams.by_parts) {
      LONGHAND_ASSIGN_OR_RETURN(streams.meetings, TakeMeetings(context));
    }
    LaunchShape shape = {static_cast<unsigned>(choice.num_blocks),
                         static_cast<unsigned>(choice.num_warps * kWarpSize),
                         static_cast<size_t>(choice.shared_bytes)};
    shape.begins_early = true;
    return Launch("LinearStreams", context.stream, shape,
                  &StreamsKernel<Format, Out, kTokens, kRingStages>, problem, streams, out);
  });
}

}  // namespace

Status LinearStreams(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const TensorCoreProblem problem = MakeProblem(args, weight);
  switch (weight.format()) {
    case WeightFormat::kFp8:
      return LaunchFormat<Fp8Weights>(context, problem, Elements<DeviceBf16>(args.out));
    case WeightFormat::kWidenedFp8:
      return LaunchFormat<WidenedFp8Weights>(context, problem, Elements<DeviceBf16>(args.out));
    case WeightFormat::kInt4:
      return LaunchFormat<Int4Weights>(context, problem, Elements<DeviceBf16>(args.out));
    default:
      return WithDeviceType(args.out.dtype(), [&](auto type) {
        return LaunchFormat<Bf16Weights>(context, problem, Elements<decltype(type)>(args.out));
      });
  }
}

bool StreamsGoByParts(const Context& context, const TensorCoreProblem& problem) {
  return WithTokens(problem.num_tokens, [&](auto tokens) {
    return ChooseFor<Bf16Weights, decltype(tokens)::value>(context, problem).streams.by_parts;
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
