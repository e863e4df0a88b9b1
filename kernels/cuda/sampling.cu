// Samples one token for each row, on the device.
//
//   logits     [S, vocab_size]  f32
//   token_ids  [S]              i32
//
// Rows with penalties or suppressed ids are copied and edited first. Filters keep the tokens whose
// key (score, then lower id) reaches a threshold, found by a radix search from the highest digit
// down: of a rank for top_k, of a mass for top_p. Masses are fixed-point numbers, so that they sum
// to the same in any order.
//
// Launch     a block for each row, up to 1024 threads.
// Cost       reads the row twice, and again for each digit of a filter that is on, from L2.
// Workspace  vocab_size floats and counts for each edited row, and the rows' parameters and ids, which
//            come by one copy (StageSampleRows).
// Errors     kResourceExhausted for the workspace, kInternal when the launch fails.
// Source     Gumbel-max: Gumbel, 1954. Written here.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/sampling_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kDigits = 256;  // of eight bits of a key
constexpr int kMaxThreads = 1024;
constexpr uint32_t kInPrompt = 1u << 30;  // beside the count of a token in the output

struct RowParams {
  DrawKey draw;
  float temperature, top_p;
  float lowest_score;  // min_p's; -infinity is off
  int32_t top_k;       // 0 is off
  float repetition_penalty, presence_penalty, frequency_penalty;
  // Ids, counted from the first row's parameters: prompt [begin, prompt_end), output [prompt_end, output_end), suppressed
  // [output_end, end).
  int32_t begin, prompt_end, output_end, end;
  int32_t edited;  // number of the row among the edited ones; -1: it is not
};

struct Tables {
  const RowParams* params;
  const int32_t* ids;
  float* edited_logits;  // [edited rows, vocab_size]
  uint32_t* counts;      // the same, zero before and after
};

// Copies a row and applies penalties and suppressed ids, as kernels/sampling_math.h says.
__device__ void EditRow(const float* logits,
                        int64_t vocab_size,
                        const RowParams& params,
                        const int32_t* ids,
                        uint32_t* counts,
                        float* out) {
  const int num_threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const auto exists = [&](int32_t id) { return id >= 0 && id < vocab_size; };
  for (int64_t i = thread; i < vocab_size; i += num_threads) out[i] = logits[i];
  for (int i = params.begin + thread; i < params.output_end; i += num_threads) {
    if (!exists(ids[i])) continue;
    if (i < params.prompt_end) {
      atomicOr(&counts[ids[i]], kInPrompt);
    } else {
      atomicAdd(&counts[ids[i]], 1u);
    }
  }
  __syncthreads();
  for (int i = params.begin + thread; i < params.output_end; i += num_threads) {
    const int32_t id = ids[i];
    // Who takes a token's count edits it; the others find nothing.
    const uint32_t count = exists(id) ? atomicExch(&counts[id], 0u) : 0;
    if (count == 0) continue;
    float value = out[id];
    if (params.repetition_penalty != 1.0f) {
      value = value > 0 ? value / params.repetition_penalty
                        : __fmul_rn(value, params.repetition_penalty);
    }
    if (const uint32_t in_output = count & ~kInPrompt; in_output != 0) {
      value = __fadd_rn(value, -__fmul_rn(params.frequency_penalty, static_cast<float>(in_output)));
      value = __fadd_rn(value, -params.presence_penalty);
    }
    out[id] = value;
  }
  __syncthreads();
  for (int i = params.output_end + thread; i < params.end; i += num_threads) {
    if (exists(ids[i])) out[ids[i]] = -INFINITY;
  }
  __syncthreads();
}

// The scores of a row: (logit - largest) / temperature.
struct Scores {
  const float* logits;
  int64_t vocab_size;
  float largest, temperature, lowest;

  __device__ float operator()(int64_t id) const { return (logits[id] - largest) / temperature; }
  // 0 for what min_p removes and what cannot be drawn.
  __device__ TokenKey Key(int64_t id) const {
    const float score = (*this)(id);
    return isfinite(score) && score >= lowest ? KeyOf(score, id) : 0;
  }
};

// e^score with 44 bits after the point. A vocabulary of 2^19 tokens sums without overflow.
__device__ __forceinline__ TokenKey MassOf(TokenKey key) {
  return static_cast<TokenKey>(exp(static_cast<double>(ValueOf(key))) * 0x1p44 + 0.5);
}

struct SearchMemory {
  TokenKey sums[kDigits];
  uint32_t counts[kDigits];
  TokenKey threshold, before;
  bool found;
};

// The largest threshold such that the weights of all keys from it up reach the goal: the sum is
// enough(sum). `weigh` gives a key's weight. There is one, or the keys do not suffice, and then it
// is the least.
template <typename Weigh, typename Enough>
__device__ TokenKey Search(const Scores& scores,
                           TokenKey lower_bound,
                           Weigh&& weigh,
                           Enough&& enough,
                           SearchMemory& memory) {
  const int lane = threadIdx.x % kWarpSize;
  if (threadIdx.x == 0) {
    memory.threshold = 0;
    memory.before = 0;
    memory.found = false;
  }
  for (int shift = 56; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < kDigits; i += blockDim.x) {
      memory.sums[i] = 0;
      memory.counts[i] = 0;
    }
    __syncthreads();
    const TokenKey prefix = memory.threshold;
    for (int64_t id = threadIdx.x; id < scores.vocab_size; id += blockDim.x) {
      const TokenKey key = scores.Key(id);
      // The digits above this one are those of the threshold so far.
      if (key < lower_bound || key == 0 || (shift < 56 && (key ^ prefix) >> (shift + 8) != 0)) {
        continue;
      }
      const int digit = key >> shift & 0xff;
      atomicAdd(&memory.sums[digit], weigh(key));
      atomicAdd(&memory.counts[digit], 1u);
    }
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
  }
  const TokenKey threshold = memory.threshold;
  __syncthreads();
  return threshold;
}

__device__ TokenKey Threshold(const Scores& scores,
                              const RowParams& params,
                              SearchMemory& memory,
                              TokenKey* scratch) {
  TokenKey threshold = 0;
  if (params.top_k > 0) {
    const auto k = static_cast<TokenKey>(params.top_k);
    threshold = Search(
        scores, 0, [](TokenKey) { return TokenKey{1}; }, [=](TokenKey sum) { return sum >= k; },
        memory);
  }
  if (params.top_p < 1) {
    TokenKey mass = 0;
    for (int64_t id = threadIdx.x; id < scores.vocab_size; id += blockDim.x) {
      const TokenKey key = scores.Key(id);
      if (key != 0 && key >= threshold) mass += MassOf(key);
    }
    mass = ReduceBlock(mass, scratch, [](TokenKey a, TokenKey b) { return a + b; });
    const double goal = static_cast<double>(params.top_p) * static_cast<double>(mass);
    threshold = Search(
        scores, threshold, [](TokenKey key) { return MassOf(key); },
        [=](TokenKey sum) { return static_cast<double>(sum) >= goal; }, memory);
  }
  return threshold;
}

__global__ void __launch_bounds__(kMaxThreads)
    SampleKernel(const float* logits, int64_t vocab_size, Tables tables, int32_t* token_ids) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ SearchMemory memory;
  const RowParams params = tables.params[blockIdx.x];
  const float* row = logits + blockIdx.x * vocab_size;
  if (params.edited >= 0) {
    float* edited = tables.edited_logits + params.edited * vocab_size;
    EditRow(row, vocab_size, params, tables.ids, tables.counts + params.edited * vocab_size,
            edited);
    row = edited;
  }
  TokenKey best = 0;
  for (int64_t id = threadIdx.x; id < vocab_size; id += blockDim.x) {
    const TokenKey key = KeyOf(row[id], id);
    if (key > best) best = key;
  }
  best = LargestKey(best, scratch);
  const float largest = ValueOf(best);
  if (params.temperature > 0 && isfinite(largest)) {
    const Scores scores{row, vocab_size, largest, params.temperature, params.lowest_score};
    const TokenKey threshold = Threshold(scores, params, memory, scratch);
    // Noise lies between -2.9 and 16.7, so a token this far behind the likeliest can never win.
    constexpr float kHopeless = -20.0f;
    TokenKey drawn = 0;
    for (int64_t id = threadIdx.x; id < vocab_size; id += blockDim.x) {
      const TokenKey key = scores.Key(id);
      if (key == 0 || key < threshold || ValueOf(key) < kHopeless) continue;
      const TokenKey noisy = KeyOf(__fadd_rn(ValueOf(key), GumbelOf(params.draw, id)), id);
      if (noisy > drawn) drawn = noisy;
    }
    best = LargestKey(drawn, scratch);
  }
  if (threadIdx.x == 0) token_ids[blockIdx.x] = IdOf(best);
}

// Rows as they are staged: their parameters, then the ids of all of them.
class StagedRows {
 public:
  explicit StagedRows(void* memory, size_t num_rows)
      : params_(static_cast<RowParams*>(memory)),
        ids_(static_cast<int32_t*>(memory)),
        next_id_(IdsBegin(num_rows)) {}

  // Ids are counted from where the parameters begin.
  static int32_t IdsBegin(size_t num_rows) {
    static_assert(sizeof(RowParams) % sizeof(int32_t) == 0);
    return static_cast<int32_t>(num_rows * sizeof(RowParams) / sizeof(int32_t));
  }
  static size_t NumIds(const SampleRow& row) {
    const SamplingParams& params = *row.params;
    size_t count = row.suppress_stop_ids ? params.stop_token_ids.size() : 0;
    if (CountsPrompt(params)) count += row.prompt_token_ids->size();
    if (params.HasPenalties()) count += row.output_token_ids->size();
    return count;
  }

  void Add(const SampleRow& row, int64_t vocab_size) {
    const SamplingParams& params = *row.params;
    RowParams out{.draw = row.key,
                  .temperature = params.temperature,
                  .top_p = params.top_p,
                  .lowest_score = -INFINITY,
                  .top_k = params.top_k < vocab_size ? params.top_k : 0,
                  .repetition_penalty = params.repetition_penalty,
                  .presence_penalty = params.presence_penalty,
                  .frequency_penalty = params.frequency_penalty};
    if (params.min_p > 0) {
      // The least float that is not below the logarithm.
      const double lowest = std::log(static_cast<double>(params.min_p));
      out.lowest_score = static_cast<float>(lowest);
      if (out.lowest_score < lowest) out.lowest_score = std::nextafter(out.lowest_score, INFINITY);
    }
    out.begin = next_id_;
    out.prompt_end = CountsPrompt(params) ? Append(*row.prompt_token_ids) : out.begin;
    out.output_end = params.HasPenalties() ? Append(*row.output_token_ids) : out.prompt_end;
    out.end = row.suppress_stop_ids ? Append(params.stop_token_ids) : out.output_end;
    out.edited = out.end > out.begin ? num_edited_++ : -1;
    params_[num_rows_++] = out;
  }
  int32_t num_edited() const { return num_edited_; }
  size_t size_bytes() const { return static_cast<size_t>(next_id_) * sizeof(int32_t); }

 private:
  static bool CountsPrompt(const SamplingParams& params) {
    return params.HasPenalties() && params.repetition_penalty != 1.0f;
  }
  int32_t Append(const std::vector<int32_t>& more) {
    std::copy(more.begin(), more.end(), ids_ + next_id_);
    return next_id_ += static_cast<int32_t>(more.size());
  }

  RowParams* params_;
  int32_t* ids_;
  int32_t next_id_;
  int32_t num_rows_ = 0;
  int32_t num_edited_ = 0;
};

}  // namespace

int64_t SampleRowsBytes(const StepSizes& sizes) {
  // Prompt and answer, the token behind it, and ids that end an answer.
  constexpr int64_t kMoreIds = 256;
  return sizes.max_num_seqs *
         static_cast<int64_t>(sizeof(RowParams) +
                              sizeof(int32_t) * static_cast<size_t>(sizes.max_model_len + kMoreIds));
}

Status StageSampleRows(Context& context, const std::vector<SampleRow>& rows, int64_t vocab_size) {
  size_t bytes = rows.size() * sizeof(RowParams);
  for (const SampleRow& row : rows) bytes += StagedRows::NumIds(row) * sizeof(int32_t);
  if (context.staging_in_flight) LONGHAND_RETURN_IF_ERROR(WaitFor(context.stream));
  LONGHAND_RETURN_IF_ERROR(GrowStaging(context, static_cast<int64_t>(bytes)));
  StagedRows staged(context.staging->data(), rows.size());
  for (const SampleRow& row : rows) staged.Add(row, vocab_size);
  LONGHAND_ASSIGN_OR_RETURN(void* device, context.sample_rows.Take(context.stream, bytes));
  const size_t edited_bytes =
      static_cast<size_t>(staged.num_edited() * vocab_size) * sizeof(float);
  LONGHAND_RETURN_IF_ERROR(context.edited_logits.Take(context.stream, edited_bytes).status());
  LONGHAND_RETURN_IF_ERROR(context.token_counts.Take(context.stream, edited_bytes).status());
  context.staging_in_flight = true;
  return CopyToDevice(context.stream, device, context.staging->data(), staged.size_bytes());
}

Status Sample(Context& context, const SampleArgs& args) {
  const int64_t num_rows = args.logits.dim(0), vocab_size = args.logits.dim(1);
  if (num_rows == 0) return OkStatus();
  if (args.rows != nullptr) {
    LONGHAND_RETURN_IF_ERROR(StageSampleRows(context, *args.rows, vocab_size));
  }
  LONGHAND_ASSIGN_OR_RETURN(void* staged, context.sample_rows.Take(context.stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(void* edited, context.edited_logits.Take(context.stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(void* counts, context.token_counts.Take(context.stream, 0));
  const Tables tables{static_cast<const RowParams*>(staged), static_cast<const int32_t*>(staged),
                      static_cast<float*>(edited), static_cast<uint32_t*>(counts)};
  return Launch("Sample", context.stream, {static_cast<unsigned>(num_rows), ThreadsFor(vocab_size)},
                &SampleKernel, Elements<float>(args.logits), vocab_size, tables,
                Elements<int32_t>(args.token_ids));
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
