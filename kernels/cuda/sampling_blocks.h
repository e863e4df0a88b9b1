// What the sampling kernels share: a row over several blocks, its scores, their bins, and the list
// of tokens that a filter may keep.
#pragma once

#include <algorithm>

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/sampling_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kPerThread = 8;  // tokens of a tile: two loads of 16 bytes in flight
constexpr int kMaxTileTokens = kMaxThreads * kPerThread;
constexpr int kBlocksPerMultiprocessor = 4;
constexpr int kBins = 2048;
constexpr float kBinsPerUnit = 64;  // of score: the last bin begins at -32, where masses are 0

struct RowParams {
  DrawKey draw;
  float temperature, top_p;
  float lowest_score;  // min_p's; -infinity is off
  int32_t top_k;       // 0 is off
  float repetition_penalty, presence_penalty, frequency_penalty;
  int32_t history_row;  // -1: none
  // Tokens of it that penalties count: prompt [counted, prompt_end), output [prompt_end,
  // history_len). The token that is drawn comes behind them.
  int32_t counted, prompt_end, history_len;
  // Ids that have biases, by rising id, and then as many biases; all in words from the first row's
  // parameters on, as are those below.
  int32_t biases_begin, num_biases;
  int32_t suppressed_begin,
      suppressed_end;     // suppressed ids
  int32_t allowed_begin;  // a bit for each token; -1: all are allowed
  int32_t edited;         // number of the row among the edited ones; -1: it is not

  __device__ bool Draws(float largest) const { return temperature > 0 && isfinite(largest); }
  __device__ bool Filters() const { return top_k > 0 || top_p < 1; }
};

// What the blocks of a row tell each other. Between calls best, drawn, mass, num_listed, arrived
// and bins are zero.
struct RowState {
  TokenKey best;   // by logit
  TokenKey drawn;  // by noisy score
  TokenKey total;  // weight of the row, and of the bins above the one where the filter ends
  TokenKey above;
  TokenKey mass;                      // of a shard
  uint32_t first_listed, end_listed;  // bins; those above are kept
  uint32_t num_listed;
  uint32_t arrived;  // blocks that are done with the kernel at hand
  TokenKey bins[kBins];
};

struct Problem {
  const float* logits;  // ids first_id .. first_id + vocab_size - 1; row_stride from row to row
  int64_t vocab_size, first_id, row_stride;
  const RowParams* params;
  const int32_t* ids;  // that are suppressed or have biases, these, and masks
  int32_t* history;    // [sequences, history_stride]
  int64_t history_stride;
  float* edited_logits;  // [edited rows, vocab_size]
  RowState* states;      // [rows]
  uint32_t* lists;       // [rows, vocab_size] ids
  int32_t* token_ids;    // [rows], or null
  TokenKey* likeliest;   // [rows], or null
  int blocks_a_row;
};

// A block's part of a row: tiles [first_tile, end_tile).
struct Part {
  int row, first_tile, end_tile;
  int tile_tokens;

  __device__ explicit Part(const Problem& problem)
      : row(static_cast<int>(blockIdx.x) / problem.blocks_a_row),
        tile_tokens(static_cast<int>(blockDim.x) * kPerThread) {
    const int64_t block = static_cast<int>(blockIdx.x) % problem.blocks_a_row;
    const int64_t num_tiles = CeilDiv(problem.vocab_size, tile_tokens);
    first_tile = static_cast<int>(block * num_tiles / problem.blocks_a_row);
    end_tile = static_cast<int>((block + 1) * num_tiles / problem.blocks_a_row);
  }
  // Of this thread's token i of a tile.
  __device__ __forceinline__ int64_t Id(int tile, int i) const {
    return int64_t{tile} * tile_tokens +
           (i / 4 * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * 4 + i % 4;
  }
  // This thread's logits of a tile; those that do not exist are NaN.
  __device__ __forceinline__ void Load(const float* row_logits,
                                       int64_t vocab_size,
                                       int tile,
                                       float (&x)[kPerThread]) const {
    const bool aligned = reinterpret_cast<uintptr_t>(row_logits) % 16 == 0;
#pragma unroll
    for (int group = 0; group < kPerThread; group += 4) {
      const int64_t id = Id(tile, group);
      if (aligned && id + 4 <= vocab_size) {
        const float4 four = *reinterpret_cast<const float4*>(row_logits + id);
        x[group] = four.x, x[group + 1] = four.y, x[group + 2] = four.z, x[group + 3] = four.w;
      } else {
        for (int i = 0; i < 4; ++i) {
          x[group + i] = id + i < vocab_size ? row_logits[id + i] : NAN;
        }
      }
    }
  }
};

// Writes a row's token, and appends it to the row's history.
__device__ __forceinline__ void WriteToken(
    const RowParams& params, int32_t token_id, int32_t* out, int32_t* history, int64_t stride) {
  *out = token_id;
  if (params.history_row >= 0) history[params.history_row * stride + params.history_len] = token_id;
}

__device__ __forceinline__ const float* RowLogits(const Problem& problem,
                                                  const RowParams& params,
                                                  int row) {
  return params.edited >= 0 ? problem.edited_logits + params.edited * problem.vocab_size
                            : problem.logits + row * problem.row_stride;
}

// The scores of a row: (logit - largest) / temperature.
struct Scores {
  const float* logits;
  float largest, temperature, lowest;

  __device__ __forceinline__ float operator()(float logit) const {
    return (logit - largest) / temperature;
  }
  // Neither removed by min_p nor impossible to draw.
  __device__ __forceinline__ bool Has(float score) const {
    return isfinite(score) && score >= lowest;
  }
  __device__ __forceinline__ TokenKey Key(int64_t id) const {
    const float score = (*this)(logits[id]);
    return Has(score) ? KeyOf(score, id) : 0;
  }
};

__device__ __forceinline__ int BinOf(float score) {
  return score <= -kBins / kBinsPerUnit ? kBins - 1 : static_cast<int>(-score * kBinsPerUnit);
}

// e^score with 44 bits after the point. A vocabulary of 2^19 tokens sums without overflow.
__device__ __forceinline__ TokenKey MassOf(float score) {
  constexpr float kNoMass = -31.5f;
  if (score < kNoMass) return 0;
  return static_cast<TokenKey>(exp(static_cast<double>(score)) * 0x1p44 + 0.5);
}

// Sums of 64 bits in shared memory, of two words: its atomics on 64 bits are loops.
template <int kNumSums>
struct SharedSums {
  uint32_t low[kNumSums], high[kNumSums];

  __device__ void Clear() {
    for (int i = threadIdx.x; i < kNumSums; i += blockDim.x) low[i] = high[i] = 0;
  }
  __device__ __forceinline__ void Add(int i, TokenKey value) {
    const auto word = static_cast<uint32_t>(value);
    const uint32_t before = atomicAdd(&low[i], word);
    const uint32_t carry = before + word < before ? 1 : 0;
    const uint32_t more = static_cast<uint32_t>(value >> 32) + carry;
    if (more != 0) atomicAdd(&high[i], more);
  }
  __device__ __forceinline__ TokenKey operator[](int i) const {
    return TokenKey{high[i]} << 32 | low[i];
  }
};

// True in the last block of a row to get here, where all that the others wrote can be read.
__device__ inline bool IsLast(const Problem& problem, RowState& state) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();  // for all of the block, as the barrier came before
    last = atomicAdd(&state.arrived, 1u) == static_cast<uint32_t>(problem.blocks_a_row) - 1;
    if (last) state.arrived = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// Sums over the threads up to and with this one.
__device__ inline TokenKey SumUpTo(TokenKey value, TokenKey* scratch) {
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  for (int step = 1; step < kWarpSize; step *= 2) {
    const TokenKey before = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += before;
  }
  if (lane == kWarpSize - 1) scratch[warp] = value;
  __syncthreads();
  for (int i = 0; i < warp; ++i) value += scratch[i];
  __syncthreads();
  return value;
}

// Finds the bin where the row's filter ends, and clears the bins.
__device__ inline void FindBin(const RowParams& params, RowState& state, TokenKey* scratch) {
  const int mine = kBins / static_cast<int>(blockDim.x);
  TokenKey* bins = state.bins + threadIdx.x * mine;
  TokenKey sum = 0;
  for (int i = 0; i < mine; ++i) sum += __ldcg(&bins[i]);
  const TokenKey up_to = SumUpTo(sum, scratch);
  const TokenKey total =
      ReduceBlock(up_to, scratch, [](TokenKey a, TokenKey b) { return a > b ? a : b; });
  const double goal = params.top_k > 0
                          ? static_cast<double>(params.top_k)
                          : static_cast<double>(params.top_p) * static_cast<double>(total);
  const auto enough = [=](TokenKey x) { return static_cast<double>(x) >= goal; };
  if (threadIdx.x == 0) {
    state.total = total;
    // When all tokens do not suffice, as with top_k they may: all are listed.
    if (!enough(total)) {
      state.first_listed = 0;
      state.end_listed = kBins;
      state.above = 0;
    }
  }
  TokenKey before = up_to - sum;
  if (enough(up_to) && (threadIdx.x == 0 || !enough(before))) {
    int i = 0;
    while (i < mine - 1 && !enough(before + __ldcg(&bins[i]))) before += __ldcg(&bins[i++]);
    const auto bin = static_cast<uint32_t>(threadIdx.x * mine + i);
    state.first_listed = params.top_k > 0 ? 0 : bin;
    state.end_listed = bin + 1;
    state.above = params.top_k > 0 ? 0 : before;
  }
  for (int i = 0; i < mine; ++i) bins[i] = 0;
}

// Puts a warp's tokens of a tile on the row's list: of each thread those that `listed` has a bit
// for.
__device__ __forceinline__ void AppendToList(
    const Part& part, int tile, uint32_t listed, RowState& state, uint32_t* list) {
  if (__ballot_sync(kAllLanes, listed != 0) == 0) return;
  const int lane = threadIdx.x % kWarpSize;
  const auto mine = static_cast<uint32_t>(__popc(listed));
  uint32_t end = mine;
  for (int step = 1; step < kWarpSize; step *= 2) {
    const uint32_t before = __shfl_up_sync(kAllLanes, end, step);
    if (lane >= step) end += before;
  }
  uint32_t at = 0;
  if (lane == kWarpSize - 1) at = atomicAdd(&state.num_listed, end);
  at = __shfl_sync(kAllLanes, at, kWarpSize - 1) + end - mine;
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    if ((listed >> i & 1) != 0) list[at++] = static_cast<uint32_t>(part.Id(tile, i));
  }
}

// How rows are cut into blocks.
struct RowCut {
  unsigned threads;
  int blocks_a_row;

  RowCut(const Stream& stream, int64_t num_rows, int64_t vocab_size) {
    const int64_t warps = CeilDiv(vocab_size, kWarpSize * kPerThread);
    threads = kWarpSize;  // a power of two, as the bins are shared out among them
    while (threads < kMaxThreads && threads < warps * kWarpSize) threads *= 2;
    const int64_t num_tiles =
        std::max(CeilDiv(vocab_size, int64_t{threads} * kPerThread), int64_t{1});
    const int64_t at_once = int64_t{stream.num_multiprocessors} * kBlocksPerMultiprocessor;
    blocks_a_row = static_cast<int>(std::clamp(at_once / num_rows, int64_t{1}, num_tiles));
  }
};

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
