// What the sampling kernels share: a row over several blocks, its scores and bins, the search in a
// list, the draw.
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
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kCachedKeys = 2048;
constexpr int kEditedTiles = 4;  // whose tokens are counted at once
// Beside the count of a token in the output.
constexpr uint32_t kInPrompt = 1u << 30, kSuppressed = 1u << 31;

struct RowParams {
  DrawKey draw;
  float temperature, top_p;
  float lowest_score;  // min_p's; -infinity is off
  int32_t top_k;       // 0 is off
  float repetition_penalty, presence_penalty, frequency_penalty;
  // Ids, counted from the first row's parameters: prompt [begin, prompt_end), output [prompt_end,
  // output_end), suppressed [output_end, end).
  int32_t begin, prompt_end, output_end, end;
  int32_t edited;  // number of the row among the edited ones; -1: it is not

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
  const int32_t* ids;
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

__device__ __forceinline__ const float* RowLogits(const Problem& problem,
                                                  const RowParams& params,
                                                  int row) {
  return params.edited >= 0 ? problem.edited_logits + params.edited * problem.vocab_size
                            : problem.logits + row * problem.row_stride;
}

// Counts the ids of a row's history that lie in [first, first + num).
__device__ void CountIds(
    const RowParams& params, const int32_t* ids, int64_t first, int num, uint32_t* counts) {
  const int num_threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  for (int i = thread; i < num; i += num_threads) counts[i] = 0;
  __syncthreads();
  for (int i = params.begin + thread; i < params.end; i += num_threads) {
    const int64_t at = ids[i] - first;
    if (at < 0 || at >= num) continue;
    if (i < params.prompt_end) {
      atomicOr(&counts[at], kInPrompt);
    } else if (i < params.output_end) {
      atomicAdd(&counts[at], 1u);
    } else {
      atomicOr(&counts[at], kSuppressed);
    }
  }
  __syncthreads();
}

// A logit after penalties and suppressed ids, as kernels/sampling_math.h says.
__device__ float Edited(float value, uint32_t count, const RowParams& params) {
  if ((count & kSuppressed) != 0) return -INFINITY;
  if (count == 0) return value;
  if (params.repetition_penalty != 1.0f) {
    value =
        value > 0 ? value / params.repetition_penalty : __fmul_rn(value, params.repetition_penalty);
  }
  if (const uint32_t in_output = count & ~kInPrompt; in_output != 0) {
    value = __fadd_rn(value, -__fmul_rn(params.frequency_penalty, static_cast<float>(in_output)));
    value = __fadd_rn(value, -params.presence_penalty);
  }
  return value;
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
__device__ bool IsLast(const Problem& problem, RowState& state) {
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
__device__ TokenKey SumUpTo(TokenKey value, TokenKey* scratch) {
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
__device__ void FindBin(const RowParams& params, RowState& state, TokenKey* scratch) {
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

// The keys of a row's listed tokens: a few are computed once and kept in shared memory.
struct ListedKeys {
  const Scores& scores;
  const uint32_t* ids;
  int count;
  TokenKey* cache;  // kCachedKeys

  __device__ bool IsCached() const { return count <= kCachedKeys; }
  __device__ void FillCache() const {
    if (!IsCached()) return;
    for (int i = threadIdx.x; i < count; i += blockDim.x) cache[i] = scores.Key(__ldcg(&ids[i]));
    __syncthreads();
  }
  // Calls visit(key) for this thread's share of the keys from `lower_bound` up; no key is 0.
  template <typename Visit>
  __device__ __forceinline__ void ForEach(TokenKey lower_bound, Visit&& visit) const {
    const int stride = static_cast<int>(blockDim.x);
    if (lower_bound == 0) lower_bound = 1;
    if (IsCached()) {
      for (int i = threadIdx.x; i < count; i += stride) {
        if (cache[i] >= lower_bound) visit(cache[i]);
      }
      return;
    }
    // Ids first, then their logits: two waits for memory for eight keys.
    constexpr int kAtOnce = 8;
    for (int first = threadIdx.x; first < count; first += stride * kAtOnce) {
      uint32_t id[kAtOnce];
      float logit[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        id[i] = first + i * stride < count ? __ldcg(&ids[first + i * stride]) : 0;
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        logit[i] = first + i * stride < count ? scores.logits[id[i]] : -INFINITY;
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float score = scores(logit[i]);
        const TokenKey key = scores.Has(score) ? KeyOf(score, id[i]) : 0;
        if (key >= lower_bound) visit(key);
      }
    }
  }
};

struct SearchMemory {
  SharedSums<kDigits> sums;
  uint32_t counts[kDigits];
  TokenKey threshold, before;
  bool found;
};

__device__ __forceinline__ TokenKey SumOf(TokenKey value, TokenKey* scratch) {
  return ReduceBlock(value, scratch, [](TokenKey a, TokenKey b) { return a + b; });
}

// The largest threshold such that the weights of all keys from it up, and `before`, reach the goal:
// the sum is enough(sum). Keys below `lower_bound` do not count; `weigh` gives a key's weight.
// Where all do not suffice it is the least key, or less.
template <typename Weigh, typename Enough>
__device__ TokenKey Search(const ListedKeys& keys,
                           TokenKey lower_bound,
                           TokenKey before_all,
                           Weigh&& weigh,
                           Enough&& enough,
                           SearchMemory& memory,
                           TokenKey* scratch) {
  const int lane = threadIdx.x % kWarpSize;
  TokenKey least = ~TokenKey{0}, largest = 0;
  keys.ForEach(lower_bound, [&](TokenKey key) {
    least = key < least ? key : least;
    largest = key > largest ? key : largest;
  });
  least = ReduceBlock(least, scratch, [](TokenKey a, TokenKey b) { return a < b ? a : b; });
  largest = LargestKey(largest, scratch);
  if (largest <= least) return largest;
  int open = 0;  // low bits in which the keys differ
  while (open < 64 && (least ^ largest) >> open != 0) ++open;
  if (threadIdx.x == 0) {
    memory.threshold = open == 64 ? 0 : largest >> open << open;
    memory.before = before_all;
    memory.found = false;
  }
  while (open > 0) {
    const int width = min(open, kDigitBits), shift = open - width;
    memory.sums.Clear();
    for (int i = threadIdx.x; i < kDigits; i += blockDim.x) memory.counts[i] = 0;
    __syncthreads();
    const TokenKey prefix = memory.threshold;
    keys.ForEach(lower_bound, [&](TokenKey key) {
      // The digits above this one are those of the threshold so far.
      if (open < 64 && (key ^ prefix) >> open != 0) return;
      const int digit = static_cast<int>(key >> shift) & ((1 << width) - 1);
      memory.sums.Add(digit, weigh(key));
      atomicAdd(&memory.counts[digit], 1u);
    });
    __syncthreads();
    if (threadIdx.x < kWarpSize) {
      // Lane l has eight digits, lane 0 the largest ones.
      constexpr int kPerLane = kDigits / kWarpSize;
      const int top = kDigits - 1 - lane * kPerLane;
      TokenKey sum = 0;
      for (int i = 0; i < kPerLane; ++i) sum += memory.sums[top - i];
      TokenKey up_to = sum;
      for (int step = 1; step < kWarpSize; step *= 2) {
        const TokenKey above = __shfl_up_sync(kAllLanes, up_to, step);
        if (lane >= step) up_to += above;
      }
      const TokenKey start = memory.before;
      const unsigned reached = __ballot_sync(kAllLanes, enough(start + up_to));
      if (lane == (reached == 0 ? kWarpSize : __ffs(static_cast<int>(reached))) - 1) {
        TokenKey before = start + up_to - sum;
        int digit = top;
        while (digit > top - kPerLane + 1 && !enough(before + memory.sums[digit])) {
          before += memory.sums[digit--];
        }
        memory.before = before;
        memory.threshold = prefix | static_cast<TokenKey>(digit) << shift;
        // A single token, or none: its other digits do not matter.
        memory.found = memory.counts[digit] <= 1;
      }
    }
    __syncthreads();
    if (memory.found) break;
    open = shift;
  }
  const TokenKey threshold = memory.threshold;
  __syncthreads();
  return threshold;
}

// The k-th largest key, or the least where there are fewer.
__device__ __forceinline__ TokenKey SearchLargest(const ListedKeys& keys,
                                                  TokenKey k,
                                                  SearchMemory& memory,
                                                  TokenKey* scratch) {
  return Search(
      keys, 0, 0, [](TokenKey) { return TokenKey{1}; }, [=](TokenKey sum) { return sum >= k; },
      memory, scratch);
}

// The best draw so far, by noisy score.
class Draw {
 public:
  // Begins with the likeliest token, which every filter keeps.
  __device__ Draw(const DrawKey& key, int32_t likeliest) : key_(key) {
    drawn_ = KeyOf(GumbelOf(key_, likeliest), likeliest);
    bound_ = ValueOf(drawn_);
  }

  __device__ __forceinline__ void Add(float score, int64_t id) {
    constexpr float kLargestNoise = 16.7f;
    if (score + kLargestNoise < bound_) return;
    const float u = UniformOf(key_, id);
    if (score + AboutGumbel(u) < bound_) return;
    const TokenKey noisy = KeyOf(__fadd_rn(score, GumbelOf(u)), id);
    if (noisy > drawn_) {
      drawn_ = noisy;
      bound_ = ValueOf(noisy);
    }
  }

  // Lets the lanes of a warp, all of which are here, know what the others have to beat.
  __device__ __forceinline__ void ShareBound() {
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      bound_ = fmaxf(bound_, __shfl_xor_sync(kAllLanes, bound_, step));
    }
  }

  __device__ TokenKey drawn() const { return drawn_; }

 private:
  // Not below the noise, and above it by 0.02 at most; the noise itself takes two logarithms of
  // doubles.
  __device__ __forceinline__ static float AboutGumbel(float u) {
    constexpr float kError = 0.01f;
    const float rest = 1.0f - u;
    const float y = rest < 0x1p-7f ? rest + 0.5f * rest * rest : -__logf(u);
    return kError - __logf(y);
  }

  DrawKey key_;
  TokenKey drawn_;
  float bound_;
};

__global__ void __launch_bounds__(kMaxThreads) LargestKernel(Problem problem) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ uint32_t counts[kEditedTiles * kMaxTileTokens];
  const Part part(problem);
  const RowParams params = problem.params[part.row];
  const float* logits = problem.logits + part.row * problem.row_stride;
  float* edited =
      params.edited < 0 ? nullptr : problem.edited_logits + params.edited * problem.vocab_size;
  TokenKey best = 0;
  for (int tile = part.first_tile; tile < part.end_tile; ++tile) {
    const int counted = (tile - part.first_tile) % kEditedTiles * part.tile_tokens;
    if (edited != nullptr && counted == 0) {
      CountIds(params, problem.ids, problem.first_id + int64_t{tile} * part.tile_tokens,
               kEditedTiles * part.tile_tokens, counts);
    }
    float x[kPerThread];
    part.Load(logits, problem.vocab_size, tile, x);
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int64_t id = part.Id(tile, i);
      if (id >= problem.vocab_size) continue;
      if (edited != nullptr) {
        const int64_t at = counted + id - int64_t{tile} * part.tile_tokens;
        edited[id] = x[i] = Edited(x[i], counts[at], params);
      }
      const TokenKey key = KeyOf(x[i], problem.first_id + id);
      if (key > best) best = key;
    }
  }
  best = LargestKey(best, scratch);
  RowState& state = problem.states[part.row];
  if (threadIdx.x == 0) atomicMax(&state.best, best);
  if (problem.likeliest == nullptr || !IsLast(problem, state) || threadIdx.x != 0) return;
  problem.likeliest[part.row] = __ldcg(&state.best);
  state.best = 0;
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
