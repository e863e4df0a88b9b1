// What linear_skinny.cu and linear_tiled.cu share: how x's blocks of 64 k lie in shared memory, its
// operands for mma.sync, what becomes of the sums. Weights: weight_formats.h.
//
// x lies in atoms of eight tokens and 64 k, whose chunks of 16 bytes are moved so that no reader
// meets a bank twice: chunk c of token r is at place c ^ r of eight in bf16, as in bf16 weights
// (packed_weight.h), and at c ^ r / 2 of four in fp8, where two tokens share 128 bytes.
#pragma once

#include <type_traits>

#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/mbarrier.h"
#include "kernels/cuda/weight_formats.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Sums of 16 features and 8 tokens, as mma.sync and wgmma leave them in a warp's lanes: lane
// 4 g + q holds features 2 g and 2 g + 1 of tokens 2 q and 2 q + 1, as (feature, token): (0, 0),
// (0, 1), (1, 0), (1, 1).
using TileSums = float[4];

template <typename X>
struct XBlock {
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(X));  // elements
  static constexpr int kRowChunks = kBlockK / kChunk;
  // Where chunk c of token r lies in its atom, in elements.
  __host__ __device__ static constexpr int Place(int r, int c) {
    return r * kBlockK + (c ^ (r * kRowChunks / kAtomRows)) * kChunk;
  }
};

// A thread's share of copying blocks of kTokens rows of x, from first_token on: the same chunk of
// every kThreads / 8th row.
template <typename X, int kTokens, int kThreads>
class XCopies {
 public:
  __device__ XCopies(const TensorCoreProblem& problem, int64_t first_token)
      : in_features_(problem.in_features), is_aligned_(problem.x_is_aligned) {
    const int row = threadIdx.x / Block::kRowChunks, chunk = threadIdx.x % Block::kRowChunks;
    first_k_ = chunk * Block::kChunk;
    from_ = static_cast<const X*>(problem.x) + (first_token + row) * problem.in_features + first_k_;
    to_ = row / kAtomRows * kAtom + Block::Place(row % kAtomRows, chunk);
    const int64_t rows = problem.num_tokens - first_token - row;
    num_ = rows <= 0 ? 0 : static_cast<int>(min(CeilDiv(rows, kRows), int64_t{kPieces}));
  }

  __device__ __forceinline__ void Copy(int block, X* x) const {
    if (kTokens < kRows && threadIdx.x >= kTokens * Block::kRowChunks) return;
    const int64_t k = int64_t{block} * kBlockK;
    const bool k_exists = k + first_k_ < in_features_;
    const X* from = from_ + k;
    if (is_aligned_) {
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        CopyAsync16(x + to_ + i * kRows * kBlockK, from + i * kRows * in_features_,
                    i < num_ && k_exists ? 16 : 0);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < kPieces; ++i) {
#pragma unroll 1
        for (int j = 0; j < Block::kChunk; ++j) {
          const bool exists = i < num_ && k + first_k_ + j < in_features_;
          x[to_ + i * kRows * kBlockK + j] = exists ? from[i * kRows * in_features_ + j] : X{0};
        }
      }
    }
  }

 private:
  using Block = XBlock<X>;
  static constexpr int kRows = kThreads / Block::kRowChunks;  // of one piece of every thread
  static constexpr int kPieces = kTokens < kRows ? 1 : kTokens / kRows;
  static_assert(kRows % kAtomRows == 0);

  const X* from_;
  int64_t in_features_;
  int first_k_, to_, num_;  // num_: rows that exist
  bool is_aligned_;
};

// Eight tokens and the 32 k from 32 pair on, of a block: operand b of two steps.
__device__ __forceinline__ void LoadX(const DeviceBf16* atom,
                                      int pair,
                                      int lane,
                                      uint32_t (&b)[4]) {
  LoadMatrixX4<false>(b, atom + XBlock<DeviceBf16>::Place(lane % 8, 4 * pair + lane / 8));
}
__device__ __forceinline__ void LoadX(const DeviceFp8* atom, int pair, int lane, uint32_t (&b)[4]) {
  uint32_t codes[4];  // twice
  LoadMatrixX4<false>(codes, atom + XBlock<DeviceFp8>::Place(lane % 8, 2 * pair + lane / 8 % 2));
  Fp8ToHalves(codes[0], b[0], b[2]);
  Fp8ToHalves(codes[1], b[1], b[3]);
}

// The first part's sum is the total, the others are added.
__device__ __forceinline__ void AddPart(const TileSums& sum, bool is_first, TileSums& total) {
  for (int i = 0; i < 4; ++i) total[i] = is_first ? sum[i] : total[i] + sum[i];
}
template <int kTiles>
__device__ __forceinline__ void AddPart(const TileSums (&sum)[kTiles],
                                        bool is_first,
                                        TileSums (&total)[kTiles]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) AddPart(sum[t], is_first, total[t]);
}

// Leaves this block's sums of one part. The last block of a tile to come (true) takes all parts'
// sums, added in order. Of the block's first kThreads threads, which all get the same answer.
//   arrived  how many parts' sums of the tile are there: zero between launches
//   sums     [num_parts][kTiles][kThreads] of the tile
template <int kThreads, int kTiles>
__device__ __forceinline__ bool JoinParts(
    unsigned* arrived, float4* sums, int part, int num_parts, TileSums (&sum)[kTiles]) {
  float4* mine = sums + int64_t{part} * kTiles * kThreads + threadIdx.x;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    mine[t * kThreads] = float4{sum[t][0], sum[t][1], sum[t][2], sum[t][3]};
  }
  // Behind the barrier one thread's fence stands for all threads' stores and loads.
  constexpr int kBarrier = 1;
  WaitAt(kBarrier, kThreads);
  bool is_last = false;
  if (threadIdx.x == 0) {
    __threadfence();
    is_last = atomicAdd(arrived, 1u) == static_cast<unsigned>(num_parts) - 1;
    if (is_last) *arrived = 0;
    __threadfence();
  }
  if (!WaitForAnyAt(kBarrier, kThreads, is_last)) return false;
  constexpr int kAtOnce = kTiles < 8 ? kTiles : 8;  // loads in flight; more need too many registers
  // The first part's sums as they are: -0 + v is v.
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    for (int i = 0; i < 4; ++i) sum[t][i] = -0.0f;
  }
#pragma unroll 1
  for (int p = 0; p < num_parts; ++p) {
    const float4* other = sums + int64_t{p} * kTiles * kThreads + threadIdx.x;
#pragma unroll
    for (int first = 0; first < kTiles; first += kAtOnce) {
      float4 loaded[kAtOnce];
#pragma unroll
      for (int t = 0; t < kAtOnce; ++t) loaded[t] = __ldcg(other + (first + t) * kThreads);
#pragma unroll
      for (int t = 0; t < kAtOnce; ++t) {
        const float4& v = loaded[t];
        AddPart({v.x, v.y, v.z, v.w}, false, sum[first + t]);
      }
      PinSums(sum);  // before more are loaded
    }
  }
  return true;
}

// Two neighbours of out, stored at once.
template <typename Out>
struct Pair;
template <>
struct alignas(8) Pair<float> {
  static __device__ __forceinline__ Pair Of(float low, float high) { return {low, high}; }
  __device__ __forceinline__ float low() const { return values[0]; }
  __device__ __forceinline__ float high() const { return values[1]; }
  float values[2];
};
template <>
struct Pair<DeviceBf16> {
  static __device__ __forceinline__ Pair Of(float low, float high) { return {PackBf16(low, high)}; }
  __device__ __forceinline__ DeviceBf16 low() const { return {static_cast<uint16_t>(bits)}; }
  __device__ __forceinline__ DeviceBf16 high() const { return {static_cast<uint16_t>(bits >> 16)}; }
  uint32_t bits;
};

// What the SwiGlu of a lane's two sums is, once they are rounded.
template <typename Out>
__device__ __forceinline__ Out GateUp(float gate, float up) {
  return FromFloat<Out>(SwiGluOf(ToFloat(FromFloat<Out>(gate)), ToFloat(FromFloat<Out>(up))));
}

// Writes a warp's sums of 16 features, scaled and with the bias, to tokens first_token + 8 t + ...
// Of gates and ups: what GateUp makes of them, or each in its place.
template <typename Format, int kTiles, typename Out>
__device__ __forceinline__ void StoreSums(const TensorCoreProblem& problem,
                                          int64_t first_feature,
                                          int64_t first_token,
                                          int lane,
                                          const TileSums (&sum)[kTiles],
                                          Out* out) {
  const int64_t feature = first_feature + lane / 4 * 2;
  if (feature >= problem.out_features) return;
  const bool has_second = feature + 1 < problem.out_features;
  constexpr bool kIsScaled = !std::is_same_v<Format, Bf16Weights>;
  float scale[2] = {1, 1}, bias[2] = {-0.0f, -0.0f};  // v + -0 is v
  if (Format::kHasRowScale) {
    const auto* scales = static_cast<const float*>(problem.scales);
    scale[0] = scales[feature] * Format::kFactor;
    if (has_second) scale[1] = scales[feature + 1] * Format::kFactor;
  }
  if (problem.bias != nullptr) {
    bias[0] = problem.bias[SourceRow(feature, problem.num_gates)];
    if (has_second) bias[1] = problem.bias[SourceRow(feature + 1, problem.num_gates)];
  }
  // Tokens one after the other, so that their places need few registers. Of those that do not exist
  // only the store is left out: then the others' arithmetic overlaps.
  const int64_t token = first_token + lane % 4 * 2;
  const int left = static_cast<int>(min(problem.num_tokens - token, int64_t{8 * kTiles}));
  const bool has_x_scale = problem.x_scale != nullptr;
  const auto store = [&](Out* to, int64_t row, const auto& value_of, const auto& store_at) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const bool exists = 8 * t + i < left;
        float low = sum[t][i], high = sum[t][2 + i];
        if (Format::kHasRowScale) low *= scale[0], high *= scale[1];
        if (kIsScaled) {
          float x_scale = 1;
          if (exists && has_x_scale) x_scale = problem.x_scale[token + 8 * t + i];
          low *= x_scale, high *= x_scale;
        }
        const auto value = value_of(__fadd_rn(low, bias[0]), __fadd_rn(high, bias[1]));
        if (exists) store_at(to, value);
        to += row * (i == 0 ? 1 : 7);
      }
    }
  };
  if constexpr (std::is_same_v<Out, DeviceBf16>) {
    if (problem.joins_gates) {
      store(
          out + token * problem.num_gates + feature / 2, problem.num_gates,
          [](float gate, float up) { return GateUp<Out>(gate, up); },
          [](Out* at, Out value) { *at = value; });
      return;
    }
  }
  const auto pair_of = [](float low, float high) { return Pair<Out>::Of(low, high); };
  if constexpr (std::is_same_v<Out, DeviceBf16>) {
    if (problem.num_gates > 0) {
      store(out + token * problem.out_features + feature / 2, problem.out_features, pair_of,
            [&](Out* at, const Pair<Out>& pair) {
              at[0] = pair.low();
              at[problem.num_gates] = pair.high();
            });
      return;
    }
  }
  Out* to = out + token * problem.out_features + feature;
  if (problem.out_features % 2 == 0 && reinterpret_cast<uintptr_t>(out) % sizeof(Pair<Out>) == 0) {
    store(to, problem.out_features, pair_of,
          [](Out* at, const Pair<Out>& pair) { *reinterpret_cast<Pair<Out>*>(at) = pair; });
  } else {
    store(to, problem.out_features, pair_of, [&](Out* at, const Pair<Out>& pair) {
      at[0] = pair.low();
      if (has_second) at[1] = pair.high();
    });
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
