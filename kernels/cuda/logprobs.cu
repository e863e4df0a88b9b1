// Log-probabilities of a row's distribution: of one token, and of the k best.
//
//   logits        [S, vocab_size]  f32
//   token_ids     [S]              i32
//   logprobs      [S]              f32
//   top_ids       [S, k]           i32, or absent
//   top_logprobs  [S, k]           f32
//
// Launch     a block for each row, up to 1024 threads. The k best are found one after the other.
// Cost       reads the row 2 + k times, after the first from L2. Sums in double.
// Errors     kInternal when the launch fails; ids are trusted.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/sampling_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kMaxThreads = 1024;

// Calls visit(id, logit) for this thread's tokens, in order; four loads are in flight.
template <typename Visit>
__device__ __forceinline__ void ForEachLogit(const float* row, int64_t vocab_size, Visit&& visit) {
  constexpr int kAtOnce = 4;
  const int64_t stride = blockDim.x;
  int64_t id = threadIdx.x;
  for (; id + (kAtOnce - 1) * stride < vocab_size; id += kAtOnce * stride) {
    float x[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) x[i] = row[id + i * stride];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) visit(id + i * stride, x[i]);
  }
  for (; id < vocab_size; id += stride) visit(id, row[id]);
}

// The largest key below `limit`.
__device__ TokenKey BestBelow(const float* row,
                              int64_t vocab_size,
                              TokenKey limit,
                              TokenKey* scratch) {
  TokenKey best = 0;
  ForEachLogit(row, vocab_size, [&](int64_t id, float logit) {
    const TokenKey key = KeyOf(logit, id);
    if (key < limit && key > best) best = key;
  });
  return LargestKey(best, scratch);
}

__global__ void __launch_bounds__(kMaxThreads, 1) LogprobsKernel(const float* logits,
                                                              int64_t vocab_size,
                                                              const int32_t* token_ids,
                                                              int64_t k,
                                                              float* logprobs,
                                                              int32_t* top_ids,
                                                              float* top_logprobs) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ double sums[kWarpSize];
  const float* row = logits + blockIdx.x * vocab_size;
  TokenKey best = BestBelow(row, vocab_size, ~TokenKey{0}, scratch);
  const double max = ValueOf(best);
  double sum = 0;
  ForEachLogit(row, vocab_size, [&](int64_t, float logit) {
    sum += exp(static_cast<double>(logit) - max);
  });
  sum = ReduceBlock(sum, sums, [](double a, double b) { return a + b; });
  const double log_total = max + log(sum);
  if (threadIdx.x == 0) {
    logprobs[blockIdx.x] = static_cast<float>(row[token_ids[blockIdx.x]] - log_total);
  }
  for (int64_t i = 0; i < k; ++i) {
    if (i > 0) best = BestBelow(row, vocab_size, best, scratch);
    if (threadIdx.x != 0) continue;
    top_ids[blockIdx.x * k + i] = IdOf(best);
    top_logprobs[blockIdx.x * k + i] = static_cast<float>(row[IdOf(best)] - log_total);
  }
}

}  // namespace

Status Logprobs(Context& context, const LogprobsArgs& args) {
  const int64_t num_rows = args.logits.dim(0), vocab_size = args.logits.dim(1);
  if (num_rows == 0) return OkStatus();
  const int64_t k = args.top_ids.rank() == 0 ? 0 : args.top_ids.dim(1);
  return Launch("Logprobs", context.stream,
                {static_cast<unsigned>(num_rows), ThreadsFor(vocab_size)}, &LogprobsKernel,
                Elements<float>(args.logits), vocab_size, Elements<int32_t>(args.token_ids), k,
                Elements<float>(args.logprobs), Elements<int32_t>(args.top_ids),
                Elements<float>(args.top_logprobs));
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
