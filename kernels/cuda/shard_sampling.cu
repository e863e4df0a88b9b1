// Sampling where each rank has a part of the vocabulary: what a rank says of its tokens.
// kernels/shard_sampling.h has the words, join_shards.cu joins what all say.
//
//   logits     [S, V]           f32; num_ids columns are tokens
//   likeliest  [S], [ranks, S]  i64
//   words      [S, kShardWords] i64
//
// Three kernels, which cut rows into blocks as sampling.cu does. The first is its first, and leaves
// the shard's likeliest token. The second draws among all of the shard's tokens, adds up their
// mass, and finds the bin of score that holds the last candidate; the third lists the tokens down
// to that bin, and its last block sorts the candidates out.
//
// Launch     up to 256 threads.
// Cost       reads the shard's logits three times: once from memory, then from L2.
// Workspace  sampling.cu's, of which penalties' edited logits stay from the first kernel on.
// Errors     kResourceExhausted for the workspace, kInternal when a launch fails.
#include "kernels/cuda/sampling_draw.h"
#include "kernels/cuda/sampling_largest.h"
#include "kernels/cuda/sampling_search.h"
#include "kernels/cuda/shard_words.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// What a shard's kernels get beside the rows.
struct ShardProblem {
  Problem rows;
  const TokenKey* likeliest;  // [num_ranks, num_rows]
  int num_ranks, num_rows;
  TokenKey* words;  // [num_rows, kShardWords]
};

__global__ void __launch_bounds__(kMaxThreads) ShardBinsKernel(ShardProblem shard) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ SharedSums<kBins> counts;
  const Problem& problem = shard.rows;
  const Part part(problem);
  RowParams params = problem.params[part.row];
  RowState& state = problem.states[part.row];
  const TokenKey likeliest =
      LikeliestOfAll(shard.likeliest, shard.num_ranks, shard.num_rows, part.row);
  const float largest = ValueOf(likeliest);
  if (!params.Draws(largest)) return;
  const bool filters = params.Filters();
  const Scores scores{RowLogits(problem, params, part.row), largest, params.temperature,
                      params.lowest_score};
  counts.Clear();
  __syncthreads();
  Draw draw(params.draw, IdOf(likeliest));
  TokenKey mass = 0;
  for (int tile = part.first_tile; tile < part.end_tile; ++tile) {
    float x[kPerThread];
    part.Load(scores.logits, problem.vocab_size, tile, x);
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const float score = scores(x[i]);
      if (!scores.Has(score)) continue;
      draw.Add(score, problem.first_id + part.Id(tile, i));
      if (!filters) continue;
      mass += MassOf(score);
      counts.Add(BinOf(score), 1);
    }
    draw.ShareBound();
  }
  const TokenKey drawn = LargestKey(draw.drawn(), scratch);
  mass = SumOf(mass, scratch);
  if (threadIdx.x == 0) {
    atomicMax(&state.drawn, drawn);
    if (mass != 0) atomicAdd(&state.mass, mass);
  }
  if (!filters) return;
  for (int i = threadIdx.x; i < kBins; i += blockDim.x) {
    const TokenKey count = counts[i];
    if (count != 0) atomicAdd(&state.bins[i], count);
  }
  if (!IsLast(problem, state)) return;
  // The likeliest kCandidates are what top_k would keep.
  params.top_k = kCandidates;
  FindBin(params, state, scratch);
}

// Writes the listed keys from `threshold` up in order, with the ids of the whole vocabulary, and
// returns how many there are.
__device__ int WriteCandidates(const ListedKeys& keys,
                               TokenKey threshold,
                               int64_t first_id,
                               TokenKey* words) {
  __shared__ TokenKey candidates[kCandidates];
  __shared__ unsigned num_candidates;
  if (threadIdx.x == 0) num_candidates = 0;
  __syncthreads();
  keys.ForEach(threshold, [&](TokenKey key) {
    const unsigned at = atomicAdd(&num_candidates, 1u);
    if (at < kCandidates) candidates[at] = KeyOf(ValueOf(key), first_id + IdOf(key));
  });
  __syncthreads();
  const int count = min(static_cast<int>(num_candidates), kCandidates);
  for (int i = threadIdx.x; i < kCandidates; i += blockDim.x) {
    if (i >= count) {
      words[kShardHeader + i] = 0;
      continue;
    }
    int place = 0;
    for (int j = 0; j < count; ++j) place += candidates[j] > candidates[i];
    words[kShardHeader + place] = candidates[i];
  }
  return count;
}

__global__ void __launch_bounds__(kMaxThreads) ShardCandidatesKernel(ShardProblem shard) {
  __shared__ TokenKey scratch[kWarpSize];
  __shared__ SearchMemory memory;
  __shared__ TokenKey cache[kCachedKeys];
  const Problem& problem = shard.rows;
  const Part part(problem);
  const RowParams params = problem.params[part.row];
  RowState& state = problem.states[part.row];
  TokenKey* words = shard.words + part.row * kShardWords;
  const float largest =
      ValueOf(LikeliestOfAll(shard.likeliest, shard.num_ranks, shard.num_rows, part.row));
  const bool draws = params.Draws(largest), lists = draws && params.Filters();
  const Scores scores{RowLogits(problem, params, part.row), largest, params.temperature,
                      params.lowest_score};
  uint32_t* list = problem.lists + part.row * problem.vocab_size;
  const int end_listed = lists ? static_cast<int>(state.end_listed) : 0;
  for (int tile = part.first_tile; lists && tile < part.end_tile; ++tile) {
    float x[kPerThread];
    part.Load(scores.logits, problem.vocab_size, tile, x);
    uint32_t listed = 0;  // a bit for each of the thread's tokens
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const float score = scores(x[i]);
      if (scores.Has(score) && BinOf(score) < end_listed) listed |= 1u << i;
    }
    AppendToList(part, tile, listed, state, list);
  }
  if (!IsLast(problem, state)) return;
  int count = 0;
  if (lists) {
    const ListedKeys keys{scores, list, static_cast<int>(__ldcg(&state.num_listed)), cache};
    keys.FillCache();
    TokenKey threshold = 0;
    if (keys.count > kCandidates) {
      threshold = SearchLargest(keys, kCandidates, memory, scratch);
    }
    count = WriteCandidates(keys, threshold, problem.first_id, words);
  } else {
    for (int i = threadIdx.x; i < kCandidates; i += blockDim.x) words[kShardHeader + i] = 0;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  const TokenKey drawn = draws ? __ldcg(&state.drawn) : 0;
  // Where it is another shard's, which says so too, its logit is not here.
  const int64_t at = IdOf(drawn) - problem.first_id;
  const bool is_own = drawn != 0 && at >= 0 && at < problem.vocab_size;
  words[0] = lists ? __ldcg(&state.mass) : 0;
  words[1] = is_own ? drawn : 0;
  words[2] = is_own ? KeyOf(scores(scores.logits[at]), IdOf(drawn)) : 0;
  words[3] =
      lists && state.total > static_cast<TokenKey>(count) && count > 0 ? words[kShardWords - 1] : 0;
  state.drawn = 0;
  state.mass = 0;
  state.num_listed = 0;
}

// The rows' workspaces; `lists` for those that list tokens.
Result<Problem> ProblemOf(Context& context, const VocabShard& shard, int blocks_a_row) {
  const int64_t num_rows = shard.logits.dim(0);
  LONGHAND_ASSIGN_OR_RETURN(void* staged, context.sample_rows.Take(context.stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(void* edited, context.edited_logits.Take(context.stream, 0));
  LONGHAND_ASSIGN_OR_RETURN(
      void* states,
      context.sample_states.Take(context.stream, static_cast<size_t>(SampleStatesBytes(num_rows))));
  LONGHAND_ASSIGN_OR_RETURN(
      void* lists,
      context.sample_lists.Take(context.stream,
                                static_cast<size_t>(num_rows * shard.num_ids) * sizeof(uint32_t)));
  return Problem{.logits = Elements<float>(shard.logits),
                 .vocab_size = shard.num_ids,
                 .first_id = shard.first_id,
                 .row_stride = shard.logits.dim(1),
                 .params = static_cast<const RowParams*>(staged),
                 .ids = static_cast<const int32_t*>(staged),
                 .history = Elements<int32_t>(shard.history),
                 .history_stride = HistoryStride(shard.history),
                 .edited_logits = static_cast<float*>(edited),
                 .states = static_cast<RowState*>(states),
                 .lists = static_cast<uint32_t*>(lists),
                 .token_ids = nullptr,
                 .likeliest = nullptr,
                 .blocks_a_row = blocks_a_row};
}

LaunchShape ShapeOf(int64_t num_rows, const RowCut& cut) {
  return {static_cast<unsigned>(num_rows * cut.blocks_a_row), cut.threads};
}

}  // namespace

Status ShardLikeliest(Context& context, const ShardLikeliestArgs& args) {
  const VocabShard& shard = args.shard;
  const int64_t num_rows = shard.logits.dim(0);
  if (num_rows == 0) return OkStatus();
  if (shard.rows != nullptr) {
    LONGHAND_RETURN_IF_ERROR(StageSampleRows(context, *shard.rows, shard.vocab_size));
  }
  const RowCut cut(context.stream, num_rows, shard.num_ids);
  LONGHAND_ASSIGN_OR_RETURN(Problem problem, ProblemOf(context, shard, cut.blocks_a_row));
  problem.likeliest = Elements<TokenKey>(args.likeliest);
  return Launch("ShardLikeliest", context.stream, ShapeOf(num_rows, cut), &LargestKernel, problem);
}

Status ShardCandidates(Context& context, const ShardCandidatesArgs& args) {
  const VocabShard& shard = args.shard;
  const int64_t num_rows = shard.logits.dim(0);
  if (num_rows == 0) return OkStatus();
  const RowCut cut(context.stream, num_rows, shard.num_ids);
  LONGHAND_ASSIGN_OR_RETURN(const Problem rows, ProblemOf(context, shard, cut.blocks_a_row));
  const ShardProblem problem{rows, Elements<TokenKey>(args.likeliest),
                             static_cast<int>(args.likeliest.dim(0)), static_cast<int>(num_rows),
                             Elements<TokenKey>(args.words)};
  const LaunchShape shape = ShapeOf(num_rows, cut);
  LONGHAND_RETURN_IF_ERROR(Launch("ShardBins", context.stream, shape, &ShardBinsKernel, problem));
  return Launch("ShardCandidates", context.stream, shape, &ShardCandidatesKernel, problem);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
