// out = x * weight^T + bias for up to 64 rows: the weight streams by once. Here for bf16;
// linear_streams.cu takes codes, and what it is faster at.
//
//   x       [T <= 64, in_features]       bf16
//   weight  packed (packed_weight.h)     bf16
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            bf16 or f32; summed in f32
//
// Features are the 16 rows of mma.m16n8k16, tokens its 8 columns, so that one token wastes no
// tensor core time that matters. A block takes 64 or 128 features and either one part of k
// (KParts), whose sums the last block of the features to end adds in order, or all of them one
// after the other.
//
// Launch     grid two blocks a multiprocessor, 128 or 256 threads, each going through several
//            (features, part): while one ends, the weights of the next arrive. A ring of 90 KiB in
//            shared memory is filled by cp.async, 64 k at a time.
// Alignment  rows of x at 16 bytes are copied by 16 bytes; others go by elements.
// Cost       reads in_features * out_features times 2 bytes: memory. x comes from L2, once for
//            every 64 or 128 features.
// Errors     kResourceExhausted without room for sums, kInternal when the launch fails.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cuda/linear_tile.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kMaxStages = 10;
// Two blocks fit a multiprocessor that has 227 KiB, one fits those that have 100.
constexpr int kRingBytes = 96 << 10;
constexpr int kLargeRingBytes = 2 * kRingBytes;

// The sums of 64 tokens leave registers for one block of eight warps, which then has the large ring
// where it fits.
template <int kTokens, int kWarps>
constexpr bool kIsAlone = kTokens == 64 && kWarps == 8;
template <int kTokens, int kWarps>
constexpr int kBlocksPerMultiprocessor = kIsAlone<kTokens, kWarps> ? 1 : 2;

template <int kTokens, int kWarps, int kRingBytes>
struct Ring {
  static constexpr int kWeightBytes = kWarps * Bf16Weights::kStageBytes;  // of a stage
  static constexpr int kStageBytes =
      kWeightBytes + kTokens * kBlockK * static_cast<int>(sizeof(DeviceBf16));
  static constexpr int kStages =
      kRingBytes / kStageBytes < kMaxStages ? kRingBytes / kStageBytes : kMaxStages;
  static constexpr size_t kBytes = size_t{kStages} * kStageBytes;
};

// How a launch is cut into units: (features, part), or (features, all parts).
struct Units {
  int num_units;
  bool by_parts;
  Meetings meetings;  // by_parts: [num_groups], [num_groups][num_parts][token tiles][threads]
};

struct Unit {
  int group, first_part, end_part;
};

__device__ __forceinline__ Unit UnitAt(const Units& units, const KParts& parts, int idx) {
  if (!units.by_parts) return {idx, 0, parts.num_parts};
  const int part = idx % parts.num_parts;
  return {idx / parts.num_parts, part, part + 1};
}

template <int kTiles>
__device__ __forceinline__ void MultiplyStage(const unsigned char* weights,
                                              const DeviceBf16* x,
                                              int lane,
                                              TileSums (&sum)[kTiles]) {
  // As many products between two of one sum as hide what one takes.
  constexpr int kTogether = kTiles < 4 ? kTiles : 4;
  const Bf16Weights::Groups groups(weights, lane);
#pragma unroll
  for (int pair = 0; pair < Bf16Weights::kPairs; ++pair) {
    uint32_t a[2][4];
    Bf16Weights::LoadPair(weights, pair, lane, groups, a);
#pragma unroll
    for (int first = 0; first < kTiles; first += kTogether) {
      uint32_t b[kTogether][4];
#pragma unroll
      for (int t = 0; t < kTogether; ++t) LoadX(x + (first + t) * kAtom, pair, lane, b[t]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int t = 0; t < kTogether; ++t) {
          Bf16Weights::Multiply(sum[first + t], a[half], {b[t][2 * half], b[t][2 * half + 1]});
        }
      }
    }
  }
}

template <typename Out, int kTokens, int kWarps, int kRingBytes>
__global__ void __launch_bounds__(kWarps* kWarpSize, (kBlocksPerMultiprocessor<kTokens, kWarps>))
    SkinnyKernel(TensorCoreProblem problem, Units units, Out* out) {
  using Ring = Ring<kTokens, kWarps, kRingBytes>;
  constexpr int kThreads = kWarps * kWarpSize, kTiles = kTokens / 8;
  const KParts parts = problem.parts;
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  auto* ring = DynamicShared<unsigned char>();
  const auto x_of = [](unsigned char* stage) {
    return reinterpret_cast<DeviceBf16*>(stage + Ring::kWeightBytes);
  };

  const XCopies<DeviceBf16, kTokens, kThreads> x_copies(problem, 0);

  // What is to be copied next, and where to.
  int next_idx = blockIdx.x, next_stage = 0;
  int next_block, end_block;
  const auto begin_unit = [&] {
    const Unit unit = UnitAt(units, parts, next_idx);
    next_block = unit.first_part * parts.blocks_per_part;
    end_block = min(unit.end_part * parts.blocks_per_part, parts.num_blocks);
    return TileCopies<Bf16Weights>(problem, static_cast<int64_t>(unit.group) * kWarps + warp,
                                   next_block, lane);
  };
  TileCopies<Bf16Weights> weight_copies = begin_unit();
  const auto copy_next = [&](bool weights, bool x) {
    if (next_idx < units.num_units) {
      unsigned char* stage = ring + next_stage * Ring::kStageBytes;
      if (weights) weight_copies.Copy(stage + warp * Bf16Weights::kStageBytes);
      if (x) x_copies.Copy(next_block, x_of(stage));
      if (++next_block == end_block) {
        next_idx += gridDim.x;
        weight_copies = begin_unit();
      }
      next_stage = next_stage + 1 == Ring::kStages ? 0 : next_stage + 1;
    }
  };
  // Weights before what came before has ended, x behind it.
  LetNextBegin();
#pragma unroll 1
  for (int i = 0; i < Ring::kStages - 1; ++i) copy_next(true, false);
  const TileCopies<Bf16Weights> later_copies = weight_copies;
  WaitForPrevious();
  next_idx = blockIdx.x, next_stage = 0;
  weight_copies = begin_unit();
#pragma unroll 1
  for (int i = 0; i < Ring::kStages - 1; ++i) {
    copy_next(false, true);
    CommitCopies();
  }
  weight_copies = later_copies;

  int stage_idx = 0;
  for (int idx = blockIdx.x; idx < units.num_units; idx += gridDim.x) {
    const Unit unit = UnitAt(units, parts, idx);
    TileSums total[kTiles] = {};
    for (int part = unit.first_part; part < unit.end_part; ++part) {
      TileSums sum[kTiles] = {};
      const int begin = part * parts.blocks_per_part;
      const int end = min(begin + parts.blocks_per_part, parts.num_blocks);
#pragma unroll 1
      for (int block = begin; block < end; ++block) {
        WaitForCopies<Ring::kStages - 2>();
        // This stage is there for all threads, and all are done with the one before, whose place
        // the next copies take.
        __syncthreads();
        copy_next(true, true);
        CommitCopies();
        unsigned char* stage = ring + stage_idx * Ring::kStageBytes;
        stage_idx = stage_idx + 1 == Ring::kStages ? 0 : stage_idx + 1;
        MultiplyStage(stage + warp * Bf16Weights::kStageBytes, x_of(stage), lane, sum);
      }
      AddPart(sum, part == unit.first_part, total);
    }
    if (units.by_parts &&
        !JoinParts<kThreads>(
            units.meetings.arrived + unit.group,
            units.meetings.sums + int64_t{unit.group} * parts.num_parts * kTiles * kThreads,
            unit.first_part, parts.num_parts, total)) {
      continue;
    }
    StoreSums<Bf16Weights>(problem,
                           (static_cast<int64_t>(unit.group) * kWarps + warp) * kTileFeatures, 0,
                           lane, total, out);
  }
  WaitForCopies<0>();
}

struct Choice {
  int num_warps;
  bool by_parts;
  int num_groups;
  int64_t sums_bytes;
  double ns;  // that it is expected to take
};

// Fitted to an H100's times of all four choices, ten bf16 weights and 1 to 64 tokens
// (docs/kernels.md).
template <int kTokens, int kWarps>
Choice Consider(const TensorCoreProblem& problem, int num_multiprocessors, bool by_parts) {
  constexpr double kMemory = 22;  // bytes a nanosecond, a multiprocessor's share
  constexpr double kStage = 40.0 * kWarps + 3.5 * kTokens;  // a block alone, for 64 k
  // For a part's sums to be left and met, besides their bytes at so many a nanosecond.
  constexpr double kMeeting = 4000, kSums = 6;
  const KParts& parts = problem.parts;
  const auto groups = CeilDiv(problem.out_features, kWarps * kTileFeatures);
  const int64_t units = by_parts ? groups * parts.num_parts : groups;
  const int blocks = by_parts ? parts.blocks_per_part : parts.num_blocks;
  const double weights = double{kWarps * Bf16Weights::kStageBytes} * blocks;
  constexpr int64_t kUnitSums = int64_t{kWarps} * kTileFeatures * kTokens * sizeof(float);
  // So many units at one time. What memory and a block take overlaps, but not wholly.
  const auto at_once = [&](int64_t count) {
    const double memory = static_cast<double>(count) * weights / (kMemory * num_multiprocessors);
    return std::hypot(memory, kStage * blocks) + (by_parts ? kMeeting + kUnitSums / kSums : 0);
  };
  const int64_t places = int64_t{kBlocksPerMultiprocessor<kTokens, kWarps>} * num_multiprocessors;
  double ns = static_cast<double>(units / places) * at_once(places);
  if (units % places > 0) ns += at_once(units % places);
  return {kWarps, by_parts, static_cast<int>(groups), by_parts ? kUnitSums * units : 0, ns};
}

template <int kTokens>
Choice Choose(const TensorCoreProblem& problem, int num_multiprocessors) {
  Choice best = Consider<kTokens, 8>(problem, num_multiprocessors, false);
  for (const Choice& choice : {Consider<kTokens, 4>(problem, num_multiprocessors, false),
                               Consider<kTokens, 4>(problem, num_multiprocessors, true),
                               Consider<kTokens, 8>(problem, num_multiprocessors, true)}) {
    if (choice.by_parts && (problem.parts.num_parts == 1 || choice.num_groups > kMaxMeetings ||
                            choice.sums_bytes > static_cast<int64_t>(kMaxSumsBytes))) {
      continue;
    }
    if (choice.ns < best.ns) best = choice;
  }
  return best;
}

template <typename Out, int kTokens, int kWarps>
Status LaunchChoice(Context& context,
                    const TensorCoreProblem& problem,
                    const Choice& choice,
                    Out* out) {
  Units units = {
      choice.num_groups * (choice.by_parts ? problem.parts.num_parts : 1), choice.by_parts, {}};
  if (choice.by_parts) {
    LONGHAND_ASSIGN_OR_RETURN(units.meetings, TakeMeetings(context));
  }
  const int places = kBlocksPerMultiprocessor<kTokens, kWarps> * context.stream.num_multiprocessors;
  const auto launch = [&](auto ring_bytes) {
    constexpr int kBytes = decltype(ring_bytes)::value;
    return Launch("LinearSkinny", context.stream,
                  {static_cast<unsigned>(std::min(units.num_units, places)), kWarps * kWarpSize,
                   Ring<kTokens, kWarps, kBytes>::kBytes, /*begins_early=*/true},
                  &SkinnyKernel<Out, kTokens, kWarps, kBytes>, problem, units, out);
  };
  if constexpr (kIsAlone<kTokens, kWarps>) {
    if (context.linear.shared_bytes >= kLargeRingBytes + kSharedForKernels) {
      return launch(std::integral_constant<int, kLargeRingBytes>());
    }
  }
  return launch(std::integral_constant<int, kRingBytes>());
}

// Fitted to an H200's times: streams win where blocks of 64 or 128 features do not divide well
// among multiprocessors, unless the weight is so large that they lose more by bringing x in
// windows; and where they need no meeting and these do.
bool StreamsAreFaster(const Context& context,
                      const TensorCoreProblem& problem,
                      const Choice& choice) {
  const int num_units = choice.num_groups * (choice.by_parts ? problem.parts.num_parts : 1);
  const auto most = CeilDiv(num_units, context.stream.num_multiprocessors);
  const double busy = static_cast<double>(num_units) /
                      static_cast<double>(most * context.stream.num_multiprocessors);
  constexpr int64_t kLarge = int64_t{64} << 20;
  const bool is_large = problem.in_features * problem.out_features > kLarge;
  return (busy < 0.7 && !is_large) || (choice.by_parts && !StreamsGoByParts(context, problem));
}

template <typename Out, int kTokens>
Status LaunchFor(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const TensorCoreProblem problem = MakeProblem(args, weight);
  const Choice choice = Choose<kTokens>(problem, context.stream.num_multiprocessors);
  if (StreamsAreFaster(context, problem, choice)) return LinearStreams(context, args, weight);
  Out* out = Elements<Out>(args.out);
  return choice.num_warps == 4 ? LaunchChoice<Out, kTokens, 4>(context, problem, choice, out)
                               : LaunchChoice<Out, kTokens, 8>(context, problem, choice, out);
}

}  // namespace

Status LinearSkinny(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  if (weight.format() != WeightFormat::kBf16) return LinearStreams(context, args, weight);
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    using Out = decltype(type);
    const int64_t num_tokens = args.x.dim(0);
    if (num_tokens <= 8) return LaunchFor<Out, 8>(context, args, weight);
    if (num_tokens <= 16) return LaunchFor<Out, 16>(context, args, weight);
    if (num_tokens <= 32) return LaunchFor<Out, 32>(context, args, weight);
    return LaunchFor<Out, kMaxSkinnyRows>(context, args, weight);
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
