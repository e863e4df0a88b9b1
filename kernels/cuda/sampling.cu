// Samples one token for each row, on the device.
//
//   logits     [S, vocab_size]  f32
//   token_ids  [S]              i32
//   history    [N, L]           i32
//
// Three kernels, each with several blocks a row. The first edits rows with biases, penalties,
// suppressed ids or a mask into a copy, and finds the largest logit. The second adds up what top_k
// or top_p counts, by score, in bins of 1/64; its last block finds the bin in which the filter
// ends. The third draws among the tokens above that bin and lists those in it; its last block
// settles the list exactly, by a radix search over keys of (score, then lower id), and draws among
// what it keeps. With top_k all that may be kept is on the list.
//
// Sums are of integers: masses are fixed-point numbers. So the token depends neither on how rows
// are cut into blocks nor on the order in which blocks come.
//
// Launch     blocks of up to 256 threads, as many a row as fill the machine, at most one for each
//            2048 tokens.
// Cost       reads the row three times: once from memory, then from L2.
// Workspace  a RowState for each row, a list of vocab_size ids for each row, vocab_size floats for
//            each edited row, and the rows' parameters, biases, suppressed ids and masks, which
//            come by one copy (StageSampleRows). Histories stay on the device: the last kernel
//            appends its token.
// Errors     kResourceExhausted for the workspace, kInternal when a launch fails.
// Source     Gumbel-max: Gumbel, 1954. Written here.
#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/sampling_draw.h"
#include "kernels/cuda/sampling_largest.h"
#include "kernels/cuda/sampling_search.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

__global__ void __launch_bounds__(kMaxThreads) BinsKernel(Problem problem) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ SharedSums<kBins> sums;
  const Part part(problem);
  const RowParams params = problem.params[part.row];
  RowState& state = problem.states[part.row];
  const float largest = ValueOf(state.best);
  if (!params.Draws(largest) || !params.Filters()) return;
  const Scores scores{RowLogits(problem, params, part.row), largest, params.temperature,
                      params.lowest_score};
  sums.Clear();
  __syncthreads();
  for (int tile = part.first_tile; tile < part.end_tile; ++tile) {
    float x[kPerThread];
    part.Load(scores.logits, problem.vocab_size, tile, x);
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const float score = scores(x[i]);
      if (!scores.Has(score)) continue;
      const TokenKey weight = params.top_k > 0 ? 1 : MassOf(score);
      if (weight != 0) sums.Add(BinOf(score), weight);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kBins; i += blockDim.x) {
    const TokenKey sum = sums[i];
    if (sum != 0) atomicAdd(&state.bins[i], sum);
  }
  if (IsLast(problem, state)) FindBin(params, state, scratch);
}

// Settles the listed tokens of a row: which of them the filters keep, and their draw.
__device__ void DrawFromList(const Problem& problem,
                             const RowParams& params,
                             const RowState& state,
                             int row,
                             const Scores& scores,
                             Draw& draw,
                             TokenKey* cache,
                             SearchMemory& memory,
                             TokenKey* scratch) {
  const ListedKeys keys{scores, problem.lists + row * problem.vocab_size,
                        static_cast<int>(__ldcg(&state.num_listed)), cache};
  keys.FillCache();
  TokenKey threshold = 0;
  if (params.top_k > 0) {
    threshold = SearchLargest(keys, static_cast<TokenKey>(params.top_k), memory, scratch);
  }
  if (params.top_p < 1) {
    TokenKey mass = state.total, above = state.above;
    if (params.top_k > 0) {
      mass = above = 0;
      keys.ForEach(threshold, [&](TokenKey key) { mass += MassOf(ValueOf(key)); });
      mass = SumOf(mass, scratch);
    }
    const double goal = static_cast<double>(params.top_p) * static_cast<double>(mass);
    threshold = Search(
        keys, threshold, above, [](TokenKey key) { return MassOf(ValueOf(key)); },
        [=](TokenKey sum) { return static_cast<double>(sum) >= goal; }, memory, scratch);
  }
  keys.ForEach(threshold, [&](TokenKey key) { draw.Add(ValueOf(key), IdOf(key)); });
}

__global__ void __launch_bounds__(kMaxThreads) DrawKernel(Problem problem) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ SearchMemory memory;
  __shared__ TokenKey cache[kCachedKeys];
  const Part part(problem);
  const RowParams params = problem.params[part.row];
  RowState& state = problem.states[part.row];
  const TokenKey best = state.best;
  const float largest = ValueOf(best);
  TokenKey drawn = best;
  if (params.Draws(largest)) {
    const bool filters = params.Filters();
    const int first_listed = filters ? static_cast<int>(state.first_listed) : kBins;
    const int end_listed = filters ? static_cast<int>(state.end_listed) : kBins;
    const Scores scores{RowLogits(problem, params, part.row), largest, params.temperature,
                        params.lowest_score};
    uint32_t* list = problem.lists + part.row * problem.vocab_size;
    Draw draw(params.draw, IdOf(best));
    for (int tile = part.first_tile; tile < part.end_tile; ++tile) {
      float x[kPerThread];
      part.Load(scores.logits, problem.vocab_size, tile, x);
      uint32_t listed = 0;  // a bit for each of the thread's tokens
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        const float score = scores(x[i]);
        if (!scores.Has(score)) continue;
        const int bin = BinOf(score);
        if (bin < first_listed) {
          draw.Add(score, part.Id(tile, i));
        } else if (bin < end_listed) {
          listed |= 1u << i;
        }
      }
      draw.ShareBound();
      AppendToList(part, tile, listed, state, list);
    }
    drawn = LargestKey(draw.drawn(), scratch);
    if (threadIdx.x == 0) atomicMax(&state.drawn, drawn);
    if (!IsLast(problem, state)) return;
    if (filters) {
      DrawFromList(problem, params, state, part.row, scores, draw, cache, memory, scratch);
    }
    drawn = LargestKey(draw.drawn(), scratch);
    if (threadIdx.x == 0) {
      const TokenKey before = __ldcg(&state.drawn);
      drawn = drawn > before ? drawn : before;
    }
  } else if (!IsLast(problem, state)) {
    return;
  }
  if (threadIdx.x != 0) return;
  WriteToken(params, IdOf(drawn), &problem.token_ids[part.row], problem.history,
             problem.history_stride);
  state.best = 0;
  state.drawn = 0;
  state.num_listed = 0;
}

// Rows as they are staged: their parameters, then the biases, suppressed ids and masks of all of
// them.
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
    return (row.biases != nullptr ? 2 * row.biases->size() : 0) +
           (row.suppressed_ids != nullptr ? row.suppressed_ids->size() : 0) +
           (row.allowed != nullptr ? row.allowed->size() : 0);
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
    out.history_row = row.history_row;
    out.prompt_end = row.prompt_len;
    out.history_len = row.prompt_len + row.output_len;
    out.counted = !params.HasPenalties()              ? out.history_len
                  : params.repetition_penalty != 1.0f ? 0
                                                      : out.prompt_end;
    out.biases_begin = next_id_;
    if (row.biases != nullptr) out.num_biases = AppendBiases(*row.biases);
    out.suppressed_begin = next_id_;
    out.suppressed_end = row.suppressed_ids != nullptr ? Append(*row.suppressed_ids) : next_id_;
    out.allowed_begin = row.allowed != nullptr ? next_id_ : -1;
    if (row.allowed != nullptr) Append(*row.allowed);
    const bool is_edited = out.num_biases > 0 || out.counted < out.history_len ||
                           out.suppressed_begin < out.suppressed_end || row.allowed != nullptr;
    out.edited = is_edited ? num_edited_++ : -1;
    params_[num_rows_++] = out;
  }
  int32_t num_edited() const { return num_edited_; }
  size_t size_bytes() const { return static_cast<size_t>(next_id_) * sizeof(int32_t); }

 private:
  int32_t AppendBiases(const std::vector<TokenBias>& biases) {
    for (const TokenBias& bias : biases) ids_[next_id_++] = bias.token_id;
    for (const TokenBias& bias : biases) ids_[next_id_++] = std::bit_cast<int32_t>(bias.bias);
    return static_cast<int32_t>(biases.size());
  }
  template <typename Word>
  int32_t Append(const std::vector<Word>& more) {
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
  const int64_t num_words = 2 * kMaxTokenBiases + kMaxSuppressedIds + MaskWords(sizes.vocab_size);
  return sizes.max_num_seqs * (static_cast<int64_t>(sizeof(RowParams)) +
                               static_cast<int64_t>(sizeof(int32_t)) * num_words);
}

int64_t SampleStatesBytes(int64_t num_rows) {
  return num_rows * static_cast<int64_t>(sizeof(RowState));
}

Status StageSampleRows(Context& context, const std::vector<SampleRow>& rows, int64_t vocab_size) {
  size_t bytes = rows.size() * sizeof(RowParams);
  for (const SampleRow& row : rows) bytes += StagedRows::NumIds(row) * sizeof(int32_t);
  context.last_staging = 1 - context.last_staging;
  RowStaging& staging = context.staging[context.last_staging];
  if (staging.memory != nullptr) {
    LONGHAND_ASSIGN_OR_RETURN(const bool copied, Reached(context.stream, *staging.copied));
    if (!copied) LONGHAND_RETURN_IF_ERROR(WaitFor(context.stream));
  }
  LONGHAND_RETURN_IF_ERROR(GrowStaging(context.stream, staging, static_cast<int64_t>(bytes)));
  StagedRows staged(staging.memory->data(), rows.size());
  for (const SampleRow& row : rows) staged.Add(row, vocab_size);
  LONGHAND_ASSIGN_OR_RETURN(void* device, context.sample_rows.Take(context.stream, bytes));
  const size_t edited_bytes = static_cast<size_t>(staged.num_edited() * vocab_size) * sizeof(float);
  LONGHAND_RETURN_IF_ERROR(context.edited_logits.Take(context.stream, edited_bytes).status());
  LONGHAND_RETURN_IF_ERROR(
      CopyToDevice(context.stream, device, staging.memory->data(), staged.size_bytes()));
  return SetEvent(context.stream, *staging.copied);
}

Status Sample(Context& context, const SampleArgs& args) {
  const int64_t num_rows = args.logits.dim(0), vocab_size = args.logits.dim(1);
  if (num_rows == 0) return OkStatus();
  if (args.rows != nullptr) {
    LONGHAND_RETURN_IF_ERROR(StageSampleRows(context, *args.rows, vocab_size));
  }
  const Stream& stream = context.stream;
  LONGHAND_ASSIGN_OR_RETURN(void* staged, context.sample_rows.Take(stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(void* edited, context.edited_logits.Take(stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(
      void* states,
      context.sample_states.Take(stream, static_cast<size_t>(SampleStatesBytes(num_rows))));
  LONGHAND_ASSIGN_OR_RETURN(
      void* lists, context.sample_lists.Take(
                       stream, static_cast<size_t>(num_rows * vocab_size) * sizeof(uint32_t)));

  const RowCut cut(stream, num_rows, vocab_size);
  const Problem problem{.logits = Elements<float>(args.logits),
                        .vocab_size = vocab_size,
                        .first_id = 0,
                        .row_stride = vocab_size,
                        .params = static_cast<const RowParams*>(staged),
                        .ids = static_cast<const int32_t*>(staged),
                        .history = Elements<int32_t>(args.history),
                        .history_stride = HistoryStride(args.history),
                        .edited_logits = static_cast<float*>(edited),
                        .states = static_cast<RowState*>(states),
                        .lists = static_cast<uint32_t*>(lists),
                        .token_ids = Elements<int32_t>(args.token_ids),
                        .likeliest = nullptr,
                        .blocks_a_row = cut.blocks_a_row};
  const LaunchShape shape{static_cast<unsigned>(num_rows * cut.blocks_a_row), cut.threads};
  LONGHAND_RETURN_IF_ERROR(Launch("SampleLargest", stream, shape, &LargestKernel, problem));
  LONGHAND_RETURN_IF_ERROR(Launch("SampleBins", stream, shape, &BinsKernel, problem));
  return Launch("SampleDraw", stream, shape, &DrawKernel, problem);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
