// The first kernel of sampling, over whole rows and over shards: edits rows with biases,
// penalties, suppressed ids or a mask into a copy, and finds the largest logit.
#pragma once

#include "kernels/cuda/sampling_blocks.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kEditedTiles = 4;  // whose tokens are counted at once
// Beside the count of a token in the output.
constexpr uint32_t kBiased = 1u << 29, kInPrompt = 1u << 30, kSuppressed = 1u << 31;

// Counts the ids of a row's history that lie in [first, first + num), and marks those that have a
// bias or are suppressed.
__device__ void CountIds(
    const Problem& problem, const RowParams& params, int64_t first, int num, uint32_t* counts) {
  const int num_threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  for (int i = thread; i < num; i += num_threads) counts[i] = 0;
  __syncthreads();
  const int32_t* history = params.history_row < 0
                               ? nullptr
                               : problem.history + params.history_row * problem.history_stride;
  for (int i = params.counted + thread; i < params.history_len; i += num_threads) {
    const int64_t at = history[i] - first;
    if (at < 0 || at >= num) continue;
    if (i < params.prompt_end) {
      atomicOr(&counts[at], kInPrompt);
    } else {
      atomicAdd(&counts[at], 1u);
    }
  }
  for (int i = thread; i < params.num_biases; i += num_threads) {
    const int64_t at = problem.ids[params.biases_begin + i] - first;
    if (at >= 0 && at < num) atomicOr(&counts[at], kBiased);
  }
  for (int i = params.suppressed_begin + thread; i < params.suppressed_end; i += num_threads) {
    const int64_t at = problem.ids[i] - first;
    if (at >= 0 && at < num) atomicOr(&counts[at], kSuppressed);
  }
  __syncthreads();
}

// The bias of a token that has one.
__device__ float BiasOf(const Problem& problem, const RowParams& params, int64_t id) {
  const int32_t* ids = problem.ids + params.biases_begin;
  int begin = 0;
  for (int num_left = params.num_biases; num_left > 1;) {
    const int half = num_left / 2;
    if (ids[begin + half] <= id) begin += half;
    num_left -= half;
  }
  return __uint_as_float(static_cast<uint32_t>(ids[params.num_biases + begin]));
}

// The logit of `id` after biases, penalties and suppressed ids, as kernels/sampling_math.h says.
__device__ float Edited(
    const Problem& problem, const RowParams& params, int64_t id, uint32_t count, float value) {
  if ((count & kSuppressed) != 0) return -INFINITY;
  if ((count & kBiased) != 0) {
    value = __fadd_rn(value, BiasOf(problem, params, id));
    count -= kBiased;
  }
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

__device__ bool IsAllowed(const Problem& problem, const RowParams& params, int64_t id) {
  if (params.allowed_begin < 0) return true;
  const auto word = static_cast<uint32_t>(problem.ids[params.allowed_begin + id / 32]);
  return (word >> (id % 32) & 1) != 0;
}

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
      CountIds(problem, params, problem.first_id + int64_t{tile} * part.tile_tokens,
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
        const int64_t token_id = problem.first_id + id;
        x[i] = Edited(problem, params, token_id, counts[at], x[i]);
        if (!IsAllowed(problem, params, token_id)) x[i] = -INFINITY;
        edited[id] = x[i];
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

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
