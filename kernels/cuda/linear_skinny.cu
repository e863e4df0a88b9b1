// out = x * weight^T + bias for up to 64 rows: the weight streams by once.
//
//   x       [T <= 64, in_features]       bf16
//   weight  packed (packed_weight.h)     bf16
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            bf16 or f32; summed in f32
//
// Features are the 16 rows of mma.m16n8k16, tokens its 8 columns, so that one token wastes no
// tensor core time that matters. Each of eight warps takes one part of k (KParts); their sums are
// added in order through shared memory.
//
// Launch     grid (feature tiles), 256 threads. Weights go from global memory to registers, four
//            blocks of 32 k ahead: 4 KiB in flight for each warp and feature tile.
// Alignment  rows of x at 16 bytes are read by 16 bytes; others go by elements.
// Cost       reads in_features * out_features * 2 bytes: memory. x comes from L2.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = kMaxParts * kWarpSize;
constexpr int kAhead = 4;  // blocks of k; more registers than that leave too few warps

// Eight neighbours of a row from k on, as the operands of both halves of a block.
template <bool kAligned>
__device__ __forceinline__ uint4 LoadX(const DeviceBf16* row, int64_t k, int64_t in_features) {
  if constexpr (kAligned) {
    if (k >= in_features) return make_uint4(0, 0, 0, 0);
    return *reinterpret_cast<const uint4*>(row + k);
  } else {
    uint32_t pairs[4];
    for (int i = 0; i < 4; ++i) {
      const int64_t at = k + 2 * i;
      const uint32_t low = at < in_features ? row[at].bits : 0;
      const uint32_t high = at + 1 < in_features ? row[at + 1].bits : 0;
      pairs[i] = low | high << 16;
    }
    return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
}

template <int kFeatureTiles>
struct WeightBlock {
  uint4 half[kFeatureTiles][2];
};

template <typename Out, int kTokenTiles, int kFeatureTiles, bool kAligned>
__global__ void __launch_bounds__(kThreads) SkinnyKernel(TensorCoreProblem problem, Out* out) {
  constexpr int kFeatures = kFeatureTiles * kTileFeatures, kTokens = kTokenTiles * 8;
  const KParts parts = problem.parts;
  const int lane = threadIdx.x % kWarpSize, part = threadIdx.x / kWarpSize;
  const int64_t first_tile = static_cast<int64_t>(blockIdx.x) * kFeatureTiles;
  const int64_t num_tiles = CeilDiv(problem.out_features, kTileFeatures);
  const int begin = part * parts.blocks_per_part;
  const int end = min(begin + parts.blocks_per_part, parts.num_blocks);

  const auto load = [&](int block) {
    WeightBlock<kFeatureTiles> loaded;
#pragma unroll
    for (int f = 0; f < kFeatureTiles; ++f) {
      for (int half = 0; half < 2; ++half) {
        loaded.half[f][half] = make_uint4(0, 0, 0, 0);
        if (first_tile + f >= num_tiles || block >= end) continue;
        loaded.half[f][half] = *reinterpret_cast<const uint4*>(
            problem.weight + ((first_tile + f) * parts.num_blocks + block) * kTileBlock +
            half * kHalfBlock + lane * kLaneElements);
      }
    }
    return loaded;
  };

  float sum[kFeatureTiles][kTokenTiles][4] = {};
  WeightBlock<kFeatureTiles> ahead[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) ahead[i] = load(begin + i);
  for (int first = begin; first < end; first += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int block = first + i;
      if (block >= end) break;
      const WeightBlock<kFeatureTiles> weight = ahead[i];
      ahead[i] = load(block + kAhead);
#pragma unroll
      for (int t = 0; t < kTokenTiles; ++t) {
        const int64_t token = t * 8 + lane / 4;
        uint4 x = make_uint4(0, 0, 0, 0);
        if (token < problem.num_tokens) {
          x = LoadX<kAligned>(problem.x + token * problem.in_features,
                              int64_t{block} * kBlockK + lane % 4 * kGroup, problem.in_features);
        }
#pragma unroll
        for (int f = 0; f < kFeatureTiles; ++f) {
          const uint4& low = weight.half[f][0];
          const uint4& high = weight.half[f][1];
          MmaBf16(sum[f][t], {low.x, low.y, low.z, low.w}, {x.x, x.y});
          MmaBf16(sum[f][t], {high.x, high.y, high.z, high.w}, {x.z, x.w});
        }
      }
    }
  }

  // [part][token][feature]
  float* sums = DynamicShared<float>();
  if (part < parts.num_parts) {
#pragma unroll
    for (int f = 0; f < kFeatureTiles; ++f) {
#pragma unroll
      for (int t = 0; t < kTokenTiles; ++t) {
        for (int i = 0; i < 4; ++i) {
          const int feature = f * kTileFeatures + lane / 4 + i / 2 * 8;
          const int token = t * 8 + lane % 4 * 2 + i % 2;
          sums[(part * kTokens + token) * kFeatures + feature] = sum[f][t][i];
        }
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTokens * kFeatures; i += kThreads) {
    const int64_t token = i / kFeatures;
    const int64_t feature = first_tile * kTileFeatures + i % kFeatures;
    if (token >= problem.num_tokens || feature >= problem.out_features) continue;
    float total = sums[i];
    for (int p = 1; p < parts.num_parts; ++p) total += sums[p * kTokens * kFeatures + i];
    if (problem.bias != nullptr) total += problem.bias[feature];
    out[token * problem.out_features + feature] = FromFloat<Out>(total);
  }
}

template <typename Out, int kTokenTiles, int kFeatureTiles>
Status LaunchSkinny(Context& context, const TensorCoreProblem& problem, bool aligned, Out* out) {
  constexpr int kFeatures = kFeatureTiles * kTileFeatures;
  const size_t shared_bytes =
      sizeof(float) * static_cast<size_t>(problem.parts.num_parts) * kTokenTiles * 8 * kFeatures;
  return Launch(
      "LinearSkinny", context.stream,
      {static_cast<unsigned>(CeilDiv(problem.out_features, kFeatures)), kThreads, shared_bytes},
      aligned ? &SkinnyKernel<Out, kTokenTiles, kFeatureTiles, true>
              : &SkinnyKernel<Out, kTokenTiles, kFeatureTiles, false>,
      problem, out);
}

template <typename Out>
Status LaunchFor(Context& context, const TensorCoreProblem& problem, bool aligned, Out* out) {
  // More features for each block where more tokens must be fetched for it.
  if (problem.num_tokens <= 8) return LaunchSkinny<Out, 1, 1>(context, problem, aligned, out);
  if (problem.num_tokens <= 16) return LaunchSkinny<Out, 2, 1>(context, problem, aligned, out);
  if (problem.num_tokens <= 32) return LaunchSkinny<Out, 4, 2>(context, problem, aligned, out);
  return LaunchSkinny<Out, 8, 2>(context, problem, aligned, out);
}

}  // namespace

Status LinearSkinny(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const TensorCoreProblem problem = MakeProblem(args, weight);
  const bool aligned = RowsAreAligned(args.x, weight.in_features());
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    return LaunchFor(context, problem, aligned, Elements<decltype(type)>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
