// The search in a row's list: the key down to which a filter keeps tokens, exactly.
#pragma once

#include "kernels/cuda/sampling_blocks.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kCachedKeys = 2048;

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

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
