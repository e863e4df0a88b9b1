// One warp's share of attention: 16 rows (a query head of a token each) over tiles of 64 keys that
// lie in shared memory, with an online softmax. Paged decode, paged prefill and the ViT use it, so
// a row has the same bits in each.
//
// bf16 queries go through tensor cores with KV of bf16 or, widened to bf16, of 8 bits; with f32 on
// either side the same registers are filled by multiply-adds. Lane 4 g + q holds rows g and g + 8;
// of a tile's scores, keys 8 n + 2 q and the next; of the values, elements 8 n + 2 q and the next.
//
// Keys that a row may not see have weight 0 and change nothing: a tile without visible keys leaves
// the state as it was, bit for bit. Where rounding could depend on how the compiler joins
// operations, the operations are named.
//
// Source     online softmax: Milakov and Gimelshein, 2018; the tiling: FlashAttention-2, Dao, 2023.
//            Written here.
#pragma once

#include <type_traits>

#include "kernels/cuda/kv_bytes.h"
#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kTileKeys = 64;
constexpr int kWarpRows = 16;
constexpr int kMaxHeadDim = 128;
constexpr int kKeyTiles = kTileKeys / 8;
constexpr int kPadBytes = 16;  // after each row of shared memory: eight rows then meet all banks

// A, Kv: element types. kHeadDim: 0 where it is known at run time only (f32).
template <typename AType, typename KvType, int kHeadDimValue>
struct AttentionTypes {
  using A = AType;
  using Kv = KvType;
  static constexpr bool kBytes = std::is_same_v<Kv, KvByte>;
  static constexpr bool kTensorCores = std::is_same_v<A, DeviceBf16> && !std::is_same_v<Kv, float>;
  // An element of keys and values in shared memory.
  using Tile = std::conditional_t<kTensorCores, DeviceBf16, std::conditional_t<kBytes, float, Kv>>;
  static_assert(kTensorCores == (kHeadDimValue != 0));
  static constexpr int kHeadDim = kTensorCores ? kHeadDimValue : kMaxHeadDim;
  static constexpr int kValueTiles = kHeadDim / 8;
  static constexpr int kSteps = kHeadDim / 16;

  __host__ __device__ static constexpr int Pitch(int head_dim) {
    return (kTensorCores ? kHeadDim : head_dim) * static_cast<int>(sizeof(Tile)) + kPadBytes;
  }
  // Of one tile of keys, and of one of values.
  __host__ __device__ static constexpr int TileBytes(int head_dim) {
    return kTileKeys * Pitch(head_dim);
  }
  // Of a warp's queries and weights in f32; tensor cores have both in registers.
  __host__ __device__ static constexpr int WarpBytes(int head_dim) {
    return kTensorCores ? 0
                        : kWarpRows * (head_dim + kTileKeys + 2) * static_cast<int>(sizeof(float));
  }
};

// exp of logits. Tensor-core scores are in base 2, where the scale takes the factor in.
template <typename Types>
__device__ __forceinline__ float ExpOf(float x) {
  return Types::kTensorCores ? Exp2(x) : expf(x);
}
template <typename Types>
__host__ __device__ constexpr float LogitScale(float scale) {
  return Types::kTensorCores ? scale * 1.4426950408889634f : scale;
}

// What rows have seen so far. `max` is of products, before the scale; -infinity: nothing.
template <typename Types>
struct RowStates {
  float max[2] = {-INFINITY, -INFINITY};
  // Of the weights. Tensor cores add them up as they do the values; with f32 it is this lane's
  // part, which JoinLanes makes whole.
  float sum[2] = {0, 0};
  float values[Types::kValueTiles][4] = {};
};

// What sums are multiplied by when the largest product grows from `max`.
template <typename Types>
__device__ __forceinline__ float Decay(float max, float new_max, float logit_scale) {
  return max == -INFINITY ? 0.0f : ExpOf<Types>(__fmul_rn(__fadd_rn(max, -new_max), logit_scale));
}

// The weight of a product: `base` is BaseOf the largest.
__device__ __forceinline__ float BaseOf(float max, float logit_scale) {
  // A row that has seen nothing keeps its zeros; -infinity minus itself would be NaN.
  return max == -INFINITY ? 0.0f : __fmul_rn(max, logit_scale);
}
template <typename Types>
__device__ __forceinline__ float Weight(float product, float base, float logit_scale) {
  return ExpOf<Types>(__fmaf_rn(product, logit_scale, -base));
}

// total = total joined with split, element by element: splits are joined in order wherever they
// were computed.
template <typename Types>
struct Join {
  float max, keep, add;
  __device__ __forceinline__ Join(float total_max, float split_max, float logit_scale)
      : max(fmaxf(total_max, split_max)),
        keep(Decay<Types>(total_max, max, logit_scale)),
        add(Decay<Types>(split_max, max, logit_scale)) {}
  __device__ __forceinline__ float operator()(float total, float split) const {
    return __fmaf_rn(split, add, __fmul_rn(total, keep));
  }
};

template <typename Types>
__device__ __forceinline__ void JoinLanes(RowStates<Types>& state) {
  if constexpr (!Types::kTensorCores) {
    for (int r = 0; r < 2; ++r) {
      state.sum[r] = __fadd_rn(state.sum[r], __shfl_xor_sync(kAllLanes, state.sum[r], 1));
      state.sum[r] = __fadd_rn(state.sum[r], __shfl_xor_sync(kAllLanes, state.sum[r], 2));
    }
  }
}

template <typename Types>
__device__ __forceinline__ void JoinSplit(const RowStates<Types>& split,
                                          float logit_scale,
                                          RowStates<Types>& total) {
  for (int r = 0; r < 2; ++r) {
    const Join<Types> join(total.max[r], split.max[r], logit_scale);
    total.max[r] = join.max;
    total.sum[r] = join(total.sum[r], split.sum[r]);
#pragma unroll
    for (int n = 0; n < Types::kValueTiles; ++n) {
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        total.values[n][i] = join(total.values[n][i], split.values[n][i]);
      }
    }
  }
}

// The lane's scores of keys 8 n + 2 q and the next, for kTiles n: -infinity where row r sees only
// the first visible[r].
template <int kTiles>
__device__ __forceinline__ void Mask(const int (&visible)[2], float (&scores)[kTiles][4]) {
  const int q = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    for (int i = 0; i < 4; ++i) {
      if (n * 8 + q * 2 + i % 2 >= visible[i / 2]) scores[n][i] = -INFINITY;
    }
  }
}

// The largest of each row, in all four lanes that hold it.
template <int kTiles>
__device__ __forceinline__ void LargestOf(const float (&scores)[kTiles][4], float (&max)[2]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    for (int i = 0; i < 4; ++i) max[i / 2] = fmaxf(max[i / 2], scores[n][i]);
  }
  for (int r = 0; r < 2; ++r) {
    max[r] = fmaxf(max[r], __shfl_xor_sync(kAllLanes, max[r], 1));
    max[r] = fmaxf(max[r], __shfl_xor_sync(kAllLanes, max[r], 2));
  }
}

// Adds the weights of 16 keys, times the values at `row`: 16 elements, eight to each sum.
__device__ __forceinline__ void AddProducts(const uint32_t (&weights)[4],
                                            const char* row,
                                            float (&low)[4],
                                            float (&high)[4]) {
  // Transposed, of 16 keys and 16 elements: (keys 0-7, elements 0-7), (8-15, 0-7), (0-7, 8-15) ...
  uint32_t b[4];
  LoadMatrixX4<true>(b, row);
  MmaBf16(low, weights, {b[0], b[1]});
  MmaBf16(high, weights, {b[2], b[3]});
}
// sum[r] += the weights of row r.
__device__ __forceinline__ void AddWeights(const uint32_t (&weights)[4], float (&sum)[2]) {
  constexpr uint32_t kOnes = 0x3f803f80;
  float sums[4] = {sum[0], sum[0], sum[1], sum[1]};
  MmaBf16(sums, weights, {kOnes, kOnes});
  sum[0] = sums[0];
  sum[1] = sums[2];
}

// A warp's 16 queries. Tensor cores keep them in registers, as A operands; f32 in shared memory.
template <typename Types>
class WarpQueries {
 public:
  using A = typename Types::A;
  using Tile = typename Types::Tile;
  using States = RowStates<Types>;

  // `shared`: WarpBytes of the warp's own.
  __device__ WarpQueries(float* shared, int head_dim, float logit_scale)
      : queries_(shared),
        weights_(shared + kWarpRows * head_dim),
        head_dim_(head_dim),
        logit_scale_(logit_scale) {}

  // `row(i)` is where row i's query lies, or null for zeros.
  template <typename Row>
  __device__ void Load(Row&& row) {
    const int lane = threadIdx.x % kWarpSize, g = lane / 4, q = lane % 4;
    if constexpr (Types::kTensorCores) {
      const A* rows[2] = {row(g), row(g + 8)};
#pragma unroll
      for (int step = 0; step < Types::kSteps; ++step) {
        for (int i = 0; i < 4; ++i) {
          const A* p = rows[i % 2];
          const int d = step * 16 + i / 2 * 8 + q * 2;
          fragments_[step][i] = p == nullptr ? 0u : *reinterpret_cast<const uint32_t*>(p + d);
        }
      }
    } else {
      __syncwarp();
      for (int i = 0; i < kWarpRows; ++i) {
        const A* p = row(i);
        for (int d = lane; d < head_dim_; d += kWarpSize) {
          queries_[i * head_dim_ + d] = p == nullptr ? 0.0f : ToFloat(p[d]);
        }
      }
      __syncwarp();
    }
  }

  // Products with 8 kTiles keys. Only the first `most` are needed.
  template <int kTiles>
  __device__ __forceinline__ void Score(const char* keys,
                                        int most,
                                        float (&scores)[kTiles][4]) const {
    const int lane = threadIdx.x % kWarpSize, pitch = Types::Pitch(head_dim_);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    if constexpr (Types::kTensorCores) {
      // Of 16 keys and 16 elements: matrices (keys 0-7, elements 0-7), (0-7, 8-15), (8-15, 0-7) ...
      const char* row = keys + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 16;
#pragma unroll
      for (int step = 0; step < Types::kSteps; ++step) {
#pragma unroll
        for (int n = 0; n < kTiles; n += 2) {
          uint32_t b[4];
          LoadMatrixX4<false>(b, row + n * 8 * pitch + step * 32);
          MmaBf16(scores[n], fragments_[step], {b[0], b[1]});
          MmaBf16(scores[n + 1], fragments_[step], {b[2], b[3]});
        }
      }
    } else {
      const int g = lane / 4, q = lane % 4;
      const float* low = queries_ + g * head_dim_;
      const float* high = low + 8 * head_dim_;
      for (int n = 0; n < kTiles; ++n) {
        for (int j = 0; j < 2; ++j) {
          if (n * 8 + q * 2 + j >= most) break;
          const Tile* key = reinterpret_cast<const Tile*>(keys + (n * 8 + q * 2 + j) * pitch);
          float a = 0, b = 0;
          for (int d = 0; d < head_dim_; ++d) {
            const float element = ToFloat(key[d]);
            a = fmaf(low[d], element, a);
            b = fmaf(high[d], element, b);
          }
          scores[n][j] = a;
          scores[n][2 + j] = b;
        }
      }
    }
  }

  // Turns the scores of a tile, masked, into weights.
  __device__ __forceinline__ void Weigh(float (&scores)[kKeyTiles][4], States& state) const {
    float max[2] = {state.max[0], state.max[1]}, base[2];
    LargestOf(scores, max);
    for (int r = 0; r < 2; ++r) {
      const float decay = Decay<Types>(state.max[r], max[r], logit_scale_);
      base[r] = BaseOf(max[r], logit_scale_);
      state.max[r] = max[r];
      state.sum[r] = __fmul_rn(state.sum[r], decay);
#pragma unroll
      for (int n = 0; n < Types::kValueTiles; ++n) {
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          state.values[n][i] = __fmul_rn(state.values[n][i], decay);
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = Weight<Types>(scores[n][i], base[i / 2], logit_scale_);
        if constexpr (!Types::kTensorCores) {
          state.sum[i / 2] = __fadd_rn(state.sum[i / 2], scores[n][i]);
        }
      }
    }
  }

  // values += weights * the tile's values
  __device__ __forceinline__ void AddValues(const char* values,
                                            int most,
                                            const float (&weights)[kKeyTiles][4],
                                            States& state) const {
    const int lane = threadIdx.x % kWarpSize, pitch = Types::Pitch(head_dim_);
    if constexpr (Types::kTensorCores) {
      const char* row = values + lane % 16 * pitch + lane / 16 * 16;
#pragma unroll
      for (int step = 0; step < kTileKeys / 16; ++step) {
        const float (&low)[4] = weights[2 * step];
        const float (&high)[4] = weights[2 * step + 1];
        const uint32_t a[4] = {PackBf16(low[0], low[1]), PackBf16(low[2], low[3]),
                               PackBf16(high[0], high[1]), PackBf16(high[2], high[3])};
#pragma unroll
        for (int n = 0; n < Types::kValueTiles; n += 2) {
          AddProducts(a, row + step * 16 * pitch + n * 16, state.values[n], state.values[n + 1]);
        }
        AddWeights(a, state.sum);
      }
    } else {
      constexpr int kWeightPitch = kTileKeys + 2;
      const int g = lane / 4, q = lane % 4;
      __syncwarp();
      for (int n = 0; n < kKeyTiles; ++n) {
        for (int i = 0; i < 4; ++i) {
          weights_[(g + i / 2 * 8) * kWeightPitch + n * 8 + q * 2 + i % 2] = weights[n][i];
        }
      }
      __syncwarp();
      for (int key = 0; key < min(most, kTileKeys); ++key) {
        const Tile* row = reinterpret_cast<const Tile*>(values + key * pitch);
        const float low = weights_[g * kWeightPitch + key];
        const float high = weights_[(g + 8) * kWeightPitch + key];
#pragma unroll
        for (int n = 0; n < Types::kValueTiles; ++n) {
          if (n * 8 >= head_dim_) break;
          for (int i = 0; i < 2; ++i) {
            const float element = ToFloat(row[n * 8 + q * 2 + i]);
            state.values[n][i] = fmaf(low, element, state.values[n][i]);
            state.values[n][2 + i] = fmaf(high, element, state.values[n][2 + i]);
          }
        }
      }
    }
  }

 private:
  uint32_t fragments_[Types::kSteps][4];
  float* queries_;
  float* weights_;
  int head_dim_;
  float logit_scale_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
