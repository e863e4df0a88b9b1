// out = x * weight^T + bias for many rows: tiles of 128 tokens and 128 features on tensor cores.
//
//   x       [T, in_features]             bf16; fp8 where the device multiplies it by fp8 weights
//   weight  packed (packed_weight.h)     bf16, fp8 or int4
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            bf16 or f32; summed in f32
//
// A row's sum has the bits that linear_skinny.cu gives it: products of 16 k (fp8: 32), in order, the
// sums of the parts of k added in order. With mma.sync, for any device; linear_wgmma.cu is for sm_90a.
//
// Launch     grid (tiles, or tiles x parts of k), 256 threads: eight warps of 32 features and 64
//            tokens; 3 stages of 64 k in shared memory, filled by cp.async. Where tiles are few, a
//            block takes one part of k and the last of a tile adds the sums.
// Alignment  rows of x at 16 bytes are copied by 16 bytes; others go by elements.
// Cost       2 T * in_features * out_features operations: tensor cores.
// Errors     kResourceExhausted without room for sums, kInternal when the launch fails.
#include <algorithm>
#include <type_traits>

#include "kernels/cuda/linear_tile.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int kTokens = 128, kFeatures = 128;  // of a block
// Bytes of a stage: a tile of weights for each warp, then x.
template <typename Format>
constexpr int kWeightBytes = kFeatures / kTileFeatures * Format::kStageBytes;
template <typename Format>
constexpr int kStageBytes =
    kWeightBytes<Format> + kTokens * kBlockK * static_cast<int>(sizeof(typename Format::X));

template <typename Format>
__device__ __forceinline__ typename Format::X* XOf(unsigned char* stage) {
  return reinterpret_cast<typename Format::X*>(stage + kWeightBytes<Format>);
}

// Which tiles and blocks of k a launch takes, and where parts meet.
struct Tiles {
  int64_t token_tiles, feature_tiles;
  bool by_parts;
  Meetings meetings;  // by_parts: [tiles], [tiles][num_parts][sums of a thread][kThreads]
};

struct Place {
  int64_t tile, first_token, first_feature;
  int first_part, end_part;
};

// Blocks that run at one time share tokens and features, which then come from L2 once for many:
// bands of so many token tiles, and in a band all token tiles of a feature tile first.
constexpr int64_t kBand = 16;

__device__ __forceinline__ Place PlaceOf(const Tiles& tiles, const KParts& parts) {
  Place place;
  const int num_parts = tiles.by_parts ? parts.num_parts : 1;
  place.first_part = blockIdx.x % num_parts;
  place.end_part = tiles.by_parts ? place.first_part + 1 : parts.num_parts;
  place.tile = blockIdx.x / num_parts;
  const int64_t in_band = kBand * tiles.feature_tiles, band = place.tile / in_band;
  const int64_t width = min(kBand, tiles.token_tiles - band * kBand);
  const int64_t within = place.tile % in_band;
  place.first_token = (band * kBand + within % width) * kTokens;
  place.first_feature = within / width * kFeatures;
  return place;
}

// A thread's share of filling stages, of one block of k after the other.
template <typename Format>
class Copies {
 public:
  __device__ Copies(const TensorCoreProblem& problem, const Place& place)
      : block_(place.first_part * problem.parts.blocks_per_part),
        end_(min(place.end_part * problem.parts.blocks_per_part, problem.parts.num_blocks)),
        warp_(threadIdx.x / kWarpSize),
        x_(problem, place.first_token),
        weights_(problem, place.first_feature / kTileFeatures + warp_, block_,
                 threadIdx.x % kWarpSize) {}

  // Starts the next one's copies, if there is one, and closes their group.
  __device__ __forceinline__ void Start(unsigned char* stage) {
    if (block_ < end_) {
      weights_.Copy(stage + warp_ * Format::kStageBytes);
      x_.Copy(block_, XOf<Format>(stage));
      ++block_;
    }
    CommitCopies();
  }

 private:
  static_assert(kFeatures / kTileFeatures == kThreads / kWarpSize);

  int block_, end_, warp_;
  XCopies<typename Format::X, kTokens, kThreads> x_;
  TileCopies<Format> weights_;
};

constexpr int kWarpTokens = 64, kWarpFeatures = 32;
constexpr int kTokenTiles = kWarpTokens / 8, kFeatureTiles = kWarpFeatures / kTileFeatures;
constexpr int kSums = kFeatureTiles * kTokenTiles;
// As many as fit the 99 KiB of sm_86 and sm_89.
template <typename Format>
constexpr int kMmaStages = sizeof(typename Format::X) == 1 ? 6 : 3;

template <typename Format>
__device__ __forceinline__ void MultiplyStage(
    const unsigned char* weights,
    const typename Format::X* x,
    int lane,
    TileSums (&sum)[kSums]) {
  constexpr int kTogether = kTokenTiles / 2;  // all would not fit the registers
#pragma unroll
  for (int pair = 0; pair < Format::kPairs; ++pair) {
    uint32_t a[kFeatureTiles][2][4];
#pragma unroll
    for (int f = 0; f < kFeatureTiles; ++f) {
      const unsigned char* tile = weights + f * Format::kStageBytes;
      Format::LoadPair(tile, pair, lane, typename Format::Groups(tile, lane), a[f]);
    }
#pragma unroll
    for (int first = 0; first < kTokenTiles; first += kTogether) {
      uint32_t b[kTogether][4];
#pragma unroll
      for (int t = 0; t < kTogether; ++t) LoadX(x + (first + t) * kAtom, pair, lane, b[t]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int t = 0; t < kTogether; ++t) {
#pragma unroll
          for (int f = 0; f < kFeatureTiles; ++f) {
            Format::Multiply(sum[f * kTokenTiles + first + t], a[f][half],
                             {b[t][2 * half], b[t][2 * half + 1]});
          }
        }
      }
    }
  }
}

// A step after the other: sm_90 makes f16 of fp8, and that of two steps would not fit the registers.
template <>
__device__ __forceinline__ void MultiplyStage<Fp8Weights>(const unsigned char* weights,
                                                          const DeviceFp8* x,
                                                          int lane,
                                                          TileSums (&sum)[kSums]) {
#pragma unroll 1
  for (int step = 0; step < 2; ++step) {
    uint32_t a[kFeatureTiles][4];
#pragma unroll
    for (int f = 0; f < kFeatureTiles; ++f) {
      Fp8Weights::LoadStep(weights + f * Fp8Weights::kStageBytes, step, lane, a[f]);
    }
#pragma unroll
    for (int t = 0; t < kTokenTiles; t += 2) {
      uint32_t b[4];  // of two tiles of tokens
      LoadMatrixX4<false>(b, x + (t + lane / 16) * kAtom +
                                 XBlock<DeviceFp8>::Place(lane % 8, 2 * step + lane / 8 % 2));
#pragma unroll
      for (int f = 0; f < kFeatureTiles; ++f) {
        MmaFp8(sum[f * kTokenTiles + t], a[f], {b[0], b[1]});
        MmaFp8(sum[f * kTokenTiles + t + 1], a[f], {b[2], b[3]});
      }
    }
  }
}

template <typename Format, typename Out>
__global__ void __launch_bounds__(kThreads, 1)
    MmaSyncKernel(TensorCoreProblem problem, Tiles tiles, Out* out) {
  auto* stages = DynamicShared<unsigned char>();
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int warp_feature = warp % (kFeatures / kWarpFeatures) * kWarpFeatures;
  const int warp_token = warp / (kFeatures / kWarpFeatures) * kWarpTokens;
  const KParts parts = problem.parts;
  const Place place = PlaceOf(tiles, parts);

  Copies<Format> copies(problem, place);
  int next_stage = 0;
  const auto copy_next = [&] {
    copies.Start(stages + next_stage * kStageBytes<Format>);
    next_stage = next_stage + 1 == kMmaStages<Format> ? 0 : next_stage + 1;
  };
#pragma unroll 1
  for (int i = 0; i < kMmaStages<Format> - 1; ++i) copy_next();

  int stage_idx = 0;
  TileSums total[kSums] = {};
  for (int part = place.first_part; part < place.end_part; ++part) {
    TileSums sum[kSums] = {};
    const int begin = part * parts.blocks_per_part;
    const int end = min(begin + parts.blocks_per_part, parts.num_blocks);
#pragma unroll 1
    for (int block = begin; block < end; ++block) {
      WaitForCopies<kMmaStages<Format> - 2>();
      // This stage is there for all threads, and all are done with the one before, whose place the
      // next copies take.
      __syncthreads();
      copy_next();
      unsigned char* stage = stages + stage_idx * kStageBytes<Format>;
      stage_idx = stage_idx + 1 == kMmaStages<Format> ? 0 : stage_idx + 1;
      MultiplyStage<Format>(stage + warp_feature / kTileFeatures * Format::kStageBytes,
                            XOf<Format>(stage) + warp_token / kAtomRows * kAtom, lane, sum);
    }
    AddPart(sum, part == place.first_part, total);
  }
  WaitForCopies<0>();
  if (tiles.by_parts &&
      !JoinParts<kThreads>(
          tiles.meetings.arrived + place.tile,
          tiles.meetings.sums + place.tile * parts.num_parts * kSums * kThreads, place.first_part,
          parts.num_parts, total)) {
    return;
  }
#pragma unroll
  for (int f = 0; f < kFeatureTiles; ++f) {
    TileSums of_tile[kTokenTiles];
#pragma unroll
    for (int t = 0; t < kTokenTiles; ++t) {
      for (int i = 0; i < 4; ++i) of_tile[t][i] = total[f * kTokenTiles + t][i];
    }
    StoreSums<Format>(problem, place.first_feature + warp_feature + f * kTileFeatures,
              place.first_token + warp_token, lane, of_tile, out);
  }
}

// By parts where that keeps more multiprocessors busy than meetings cost: some 8 us for each round
// of blocks on an H100, in which 8 blocks of k are multiplied.
bool GoesByParts(const TensorCoreProblem& problem, int64_t num_tiles, int num_multiprocessors) {
  constexpr int64_t kMeetingCost = 8;
  const KParts& parts = problem.parts;
  const int64_t sums = num_tiles * parts.num_parts * kTokens * kFeatures;
  if (parts.num_parts == 1 || num_tiles > kMaxMeetings ||
      sums * sizeof(float) > kMaxSumsBytes) {
    return false;
  }
  const int64_t together = CeilDiv(num_tiles, num_multiprocessors) * parts.num_blocks;
  const int64_t apart = CeilDiv(num_tiles * parts.num_parts, num_multiprocessors) *
                        (parts.blocks_per_part + kMeetingCost);
  return apart < together;
}

}  // namespace

Status LinearTiled(Context& context,
                   const LinearArgs& args,
                   const PackedWeight& weight) {
  const TensorCoreProblem problem = MakeProblem(args, weight);
  Tiles tiles = {CeilDiv(problem.num_tokens, kTokens), CeilDiv(problem.out_features, kFeatures),
                 false, {}};
  const int64_t num_tiles = tiles.token_tiles * tiles.feature_tiles;
  tiles.by_parts = GoesByParts(problem, num_tiles, context.stream.num_multiprocessors);
  if (tiles.by_parts) {
    LONGHAND_ASSIGN_OR_RETURN(tiles.meetings, TakeMeetings(context));
  }
  const auto num_blocks =
      static_cast<unsigned>(num_tiles * (tiles.by_parts ? problem.parts.num_parts : 1));
  const auto launch_mma_sync = [&](auto format, auto* out) {
    using Format = decltype(format);
    return Launch("LinearTiled", context.stream,
                  {num_blocks, kThreads, size_t{kMmaStages<Format>} * kStageBytes<Format>},
                  &MmaSyncKernel<Format, std::remove_reference_t<decltype(*out)>>, problem, tiles,
                  out);
  };
  auto* bf16_out = Elements<DeviceBf16>(args.out);
  switch (weight.format()) {
    case WeightFormat::kFp8:
      return launch_mma_sync(Fp8Weights{}, bf16_out);
    case WeightFormat::kWidenedFp8:
      return launch_mma_sync(WidenedFp8Weights{}, bf16_out);
    case WeightFormat::kInt4:
      return launch_mma_sync(Int4Weights{}, bf16_out);
    default:
      break;
  }
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    return launch_mma_sync(Bf16Weights{}, Elements<decltype(type)>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
