// out = x * weight^T + bias for many rows: tiles of 128 tokens and 128 features on tensor cores.
//
//   x       [T, in_features]             bf16
//   weight  packed (packed_weight.h)     bf16
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            bf16 or f32; summed in f32
//
// A row's sum has the bits that linear_skinny.cu gives it: the same instruction with the same
// operands in the same order, the sums of the parts of k added in order.
//
// Launch     grid (token tiles, feature tiles), 256 threads: eight warps of 32 features and 64
//            tokens. Four stages of 32 k in shared memory, filled by cp.async.
// Alignment  rows of x at 16 bytes are copied by 16 bytes; others go by elements.
// Cost       2 T * in_features * out_features operations: tensor cores.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int kTokens = 128, kFeatures = 128;  // of a block
constexpr int kWarpTokens = 64, kWarpFeatures = 32;
constexpr int kTokenTiles = kWarpTokens / 8, kFeatureTiles = kWarpFeatures / kTileFeatures;
constexpr int kStages = 4;
constexpr int kWeightStage = kFeatures / kTileFeatures * kTileBlock;  // elements
constexpr int kXStage = kTokens * kBlockK;
constexpr int kStage = kWeightStage + kXStage;
constexpr int kOutPitch = kFeatures + 4;  // floats; spreads a column over the banks
constexpr size_t kStagesBytes = sizeof(DeviceBf16) * kStages * kStage;
constexpr size_t kOutBytes = sizeof(float) * kTokens * kOutPitch;
constexpr size_t kSharedBytes = kStagesBytes > kOutBytes ? kStagesBytes : kOutBytes;

// Starts the copies of one block of k.
template <bool kAligned>
__device__ __forceinline__ void LoadStage(const TensorCoreProblem& problem,
                                          int64_t first_token,
                                          int64_t first_tile,
                                          int block,
                                          DeviceBf16* stage) {
  const int64_t num_tiles = CeilDiv(problem.out_features, kTileFeatures);
  for (int i = threadIdx.x; i < kWeightStage / kLaneElements; i += kThreads) {
    const int64_t tile = first_tile + i / (kTileBlock / kLaneElements);
    const bool exists = tile < num_tiles;
    const DeviceBf16* from = problem.weight +
                             ((exists ? tile : 0) * problem.parts.num_blocks + block) * kTileBlock +
                             i % (kTileBlock / kLaneElements) * kLaneElements;
    CopyAsync16(stage + i * kLaneElements, from, exists ? 16 : 0);
  }
  DeviceBf16* x_stage = stage + kWeightStage;
  constexpr int kGroups = kBlockK / kGroup;
  for (int i = threadIdx.x; i < kTokens * kGroups; i += kThreads) {
    const int64_t token = first_token + i / kGroups;
    const int64_t k = int64_t{block} * kBlockK + i % kGroups * kGroup;
    const bool exists = token < problem.num_tokens && k < problem.in_features;
    const DeviceBf16* from = problem.x + (exists ? token * problem.in_features + k : 0);
    if constexpr (kAligned) {
      CopyAsync16(x_stage + i * kGroup, from, exists ? 16 : 0);
    } else {
      for (int j = 0; j < kGroup; ++j) {
        x_stage[i * kGroup + j] = exists && k + j < problem.in_features ? from[j] : DeviceBf16{0};
      }
    }
  }
}

using Sums = float[kFeatureTiles][kTokenTiles][4];

__device__ __forceinline__ void MultiplyStage(
    const DeviceBf16* stage, int warp_feature, int warp_token, int lane, Sums& sum) {
  const auto* weights = reinterpret_cast<const uint4*>(
      stage + warp_feature / kTileFeatures * kTileBlock + lane * kLaneElements);
  const auto* xs = reinterpret_cast<const uint4*>(
      stage + kWeightStage + (warp_token + lane / 4) * kBlockK + lane % 4 * kGroup);
  uint4 weight[kFeatureTiles][2];
#pragma unroll
  for (int f = 0; f < kFeatureTiles; ++f) {
    weight[f][0] = weights[(f * kTileBlock) / kLaneElements];
    weight[f][1] = weights[(f * kTileBlock + kHalfBlock) / kLaneElements];
  }
#pragma unroll
  for (int t = 0; t < kTokenTiles; ++t) {
    const uint4 x = xs[t * 8 * kBlockK / kGroup];
#pragma unroll
    for (int f = 0; f < kFeatureTiles; ++f) {
      const uint4& low = weight[f][0];
      const uint4& high = weight[f][1];
      MmaBf16(sum[f][t], {low.x, low.y, low.z, low.w}, {x.x, x.y});
      MmaBf16(sum[f][t], {high.x, high.y, high.z, high.w}, {x.z, x.w});
    }
  }
}

template <typename Out, bool kAligned>
__global__ void __launch_bounds__(kThreads) TiledKernel(TensorCoreProblem problem, Out* out) {
  auto* stages = DynamicShared<DeviceBf16>();
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int warp_feature = warp % (kFeatures / kWarpFeatures) * kWarpFeatures;
  const int warp_token = warp / (kFeatures / kWarpFeatures) * kWarpTokens;
  const int64_t first_token = static_cast<int64_t>(blockIdx.x) * kTokens;
  const int64_t first_feature = static_cast<int64_t>(blockIdx.y) * kFeatures;
  const int num_blocks = problem.parts.num_blocks;

  const auto load = [&](int block) {
    if (block < num_blocks) {
      LoadStage<kAligned>(problem, first_token, first_feature / kTileFeatures, block,
                          stages + block % kStages * kStage);
    }
    CommitCopies();
  };
  for (int block = 0; block < kStages - 1; ++block) load(block);

  Sums total = {}, sum = {};
  for (int block = 0; block < num_blocks; ++block) {
    WaitForCopies<kStages - 2>();
    // This block is there for all threads, and all are done with the one before, whose place the
    // next copies take.
    __syncthreads();
    load(block + kStages - 1);
    MultiplyStage(stages + block % kStages * kStage, warp_feature, warp_token, lane, sum);
    const bool part_ends =
        (block + 1) % problem.parts.blocks_per_part == 0 || block + 1 == num_blocks;
    if (!part_ends) continue;
#pragma unroll
    for (int f = 0; f < kFeatureTiles; ++f) {
#pragma unroll
      for (int t = 0; t < kTokenTiles; ++t) {
        for (int i = 0; i < 4; ++i) {
          total[f][t][i] += sum[f][t][i];
          sum[f][t][i] = 0;
        }
      }
    }
  }

  WaitForCopies<0>();
  __syncthreads();
  // Turned round through shared memory: [token][feature], so that stores are wide.
  auto* turned = DynamicShared<float>();
#pragma unroll
  for (int f = 0; f < kFeatureTiles; ++f) {
#pragma unroll
    for (int t = 0; t < kTokenTiles; ++t) {
      for (int i = 0; i < 4; ++i) {
        const int feature = warp_feature + f * kTileFeatures + lane / 4 + i / 2 * 8;
        const int token = warp_token + t * 8 + lane % 4 * 2 + i % 2;
        turned[token * kOutPitch + feature] = total[f][t][i];
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTokens * kFeatures; i += kThreads) {
    const int64_t token = first_token + i / kFeatures, feature = first_feature + i % kFeatures;
    if (token >= problem.num_tokens || feature >= problem.out_features) continue;
    float value = turned[i / kFeatures * kOutPitch + i % kFeatures];
    if (problem.bias != nullptr) value += problem.bias[feature];
    out[token * problem.out_features + feature] = FromFloat<Out>(value);
  }
}

}  // namespace

Status LinearTiled(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const TensorCoreProblem problem = MakeProblem(args, weight);
  const bool aligned = RowsAreAligned(args.x, weight.in_features());
  // Blocks of one feature tile run one after the other, so that its weights stay in L2.
  const dim3 grid(static_cast<unsigned>(CeilDiv(problem.num_tokens, kTokens)),
                  static_cast<unsigned>(CeilDiv(problem.out_features, kFeatures)));
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    using Out = decltype(type);
    return Launch("LinearTiled", context.stream, {grid, kThreads, kSharedBytes},
                  aligned ? &TiledKernel<Out, true> : &TiledKernel<Out, false>, problem,
                  Elements<Out>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
