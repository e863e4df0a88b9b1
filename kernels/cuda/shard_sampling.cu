// Sampling where each rank has a part of the vocabulary: what a rank says of its tokens, and the
// join of what all say. kernels/shard_sampling.h has the words.
//
//   logits     [S, V]                       f32; num_ids columns are tokens
//   likeliest  [S], [ranks, S]              i64
//   words      [S, kShardWords], or of all  i64
//   token_ids  [S]                          i32
//
// Four kernels, the first three cut rows into blocks as sampling.cu does. The first is its first,
// and leaves the shard's likeliest token. The second draws among all of the shard's tokens, adds up
// their mass, and finds the bin of score that holds the last candidate; the third lists the tokens
// down to that bin, and its last block sorts the candidates out. The join looks each candidate's
// place up in every rank's list, so that nothing is sorted again.
//
// Launch     up to 256 threads; the join a block for each row.
// Cost       reads the shard's logits three times: once from memory, then from L2. The join reads
//            8 * kShardWords bytes a rank and row.
// Workspace  sampling.cu's, of which penalties' edited logits stay from the first kernel on.
// Errors     kResourceExhausted for the workspace, kInternal when a launch fails.
#include "kernels/cuda/sampling_blocks.h"
#include "kernels/shard_sampling.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kCandidates = static_cast<int>(kShardCandidates);

// What a shard's kernels get beside the rows.
struct ShardProblem {
  Problem rows;
  const TokenKey* likeliest;  // [num_ranks, num_rows]
  int num_ranks, num_rows;
  TokenKey* words;  // [num_rows, kShardWords]
};

__device__ __forceinline__ TokenKey LikeliestOfAll(const TokenKey* likeliest,
                                                   int num_ranks,
                                                   int num_rows,
                                                   int row) {
  TokenKey best = 0;
  for (int r = 0; r < num_ranks; ++r) {
    const TokenKey key = likeliest[int64_t{r} * num_rows + row];
    best = key > best ? key : best;
  }
  return best;
}

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

struct JoinProblem {
  const RowParams* params;
  const TokenKey* likeliest;  // [num_ranks, num_rows]
  const TokenKey* words;      // [num_ranks, num_rows, kShardWords]
  int num_ranks, num_rows;
  int32_t* token_ids;
};

// All ranks' candidates of a row, in shared memory, each rank's in order.
struct Candidates {
  TokenKey* keys;   // [num_ranks, kCandidates]
  TokenKey* up_to;  // the mass of a rank's candidates up to and with each
  int num_ranks;

  // How many candidates are likelier than `key`, and their mass.
  struct Place {
    int before;
    TokenKey mass;
  };
  __device__ Place PlaceOf(TokenKey key) const {
    Place place{0, 0};
    for (int r = 0; r < num_ranks; ++r) {
      const TokenKey* rank = keys + r * kCandidates;
      int begin = 0, end = kCandidates;
      while (begin < end) {
        const int middle = (begin + end) / 2;
        if (rank[middle] > key) {
          begin = middle + 1;
        } else {
          end = middle;
        }
      }
      place.before += begin;
      if (begin > 0) place.mass += up_to[r * kCandidates + begin - 1];
    }
    return place;
  }
};

__global__ void __launch_bounds__(kMaxThreads) JoinShardsKernel(JoinProblem problem) {
  __shared__ TokenKey scratch[kWarpSize];
  const int row = static_cast<int>(blockIdx.x), lane = threadIdx.x % kWarpSize;
  const int num_keys = problem.num_ranks * kCandidates;
  const int num_threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const RowParams params = problem.params[row];
  const TokenKey likeliest =
      LikeliestOfAll(problem.likeliest, problem.num_ranks, problem.num_rows, row);
  if (!params.Draws(ValueOf(likeliest))) {
    if (thread == 0) problem.token_ids[row] = IdOf(likeliest);
    return;
  }
  const auto words_of = [&](int r) {
    return problem.words + (int64_t{r} * problem.num_rows + row) * kShardWords;
  };
  TokenKey all_mass = 0, drawn = 0, drawn_by_score = 0, bound = 0;
  for (int r = 0; r < problem.num_ranks; ++r) {
    const TokenKey* words = words_of(r);
    all_mass += words[0];
    if (words[1] > drawn) {
      drawn = words[1];
      drawn_by_score = words[2];
    }
    bound = words[3] > bound ? words[3] : bound;
  }
  if (!params.Filters()) {
    if (thread == 0) problem.token_ids[row] = IdOf(drawn);
    return;
  }

  const Candidates all{DynamicShared<TokenKey>(), DynamicShared<TokenKey>() + num_keys,
                       problem.num_ranks};
  for (int i = thread; i < num_keys; i += num_threads) {
    const TokenKey key = words_of(i / kCandidates)[kShardHeader + i % kCandidates];
    all.keys[i] = key;
    all.up_to[i] = key == 0 ? 0 : MassOf(ValueOf(key));
  }
  __syncthreads();
  for (int r = thread / kWarpSize; r < problem.num_ranks; r += num_threads / kWarpSize) {
    TokenKey before = 0;
    for (int first = 0; first < kCandidates; first += kWarpSize) {
      const int i = r * kCandidates + first + lane;
      const bool exists = first + lane < kCandidates;
      TokenKey sum = exists ? all.up_to[i] : 0;
      for (int step = 1; step < kWarpSize; step *= 2) {
        const TokenKey left = __shfl_up_sync(kAllLanes, sum, step);
        if (lane >= step) sum += left;
      }
      sum += before;
      if (exists) all.up_to[i] = sum;
      before = __shfl_sync(kAllLanes, sum, kWarpSize - 1);
    }
  }
  __syncthreads();

  // Down to the bound the candidates are all tokens that there are. kept: of those, by top_k.
  const bool by_count = params.top_k > 0, by_mass = params.top_p < 1;
  TokenKey num_known = 0, kept_mass = 0;
  for (int i = thread; i < num_keys; i += num_threads) {
    const TokenKey key = all.keys[i];
    if (key == 0 || key < bound) continue;
    ++num_known;
    if (!by_count || all.PlaceOf(key).before < params.top_k) kept_mass += MassOf(ValueOf(key));
  }
  num_known = SumOf(num_known, scratch);
  kept_mass = SumOf(kept_mass, scratch);
  bool is_closed = bound == 0 || (by_count && num_known >= static_cast<TokenKey>(params.top_k));
  if (by_mass && by_count && !is_closed) {
    if (thread == 0) problem.token_ids[row] = -1;
    return;
  }
  const double goal =
      static_cast<double>(params.top_p) * static_cast<double>(by_count ? kept_mass : all_mass);
  if (by_mass && static_cast<double>(kept_mass) >= goal) is_closed = true;
  if (!is_closed) {
    // All that is known is kept: the best draw of all tokens is that of the kept ones if it is
    // known.
    if (thread == 0) problem.token_ids[row] = drawn_by_score >= bound ? IdOf(drawn) : -1;
    return;
  }
  TokenKey best = 0;
  for (int i = thread; i < num_keys; i += num_threads) {
    const TokenKey key = all.keys[i];
    if (key == 0 || key < bound) continue;
    const Candidates::Place place = all.PlaceOf(key);
    if (by_count && place.before >= params.top_k) continue;
    if (by_mass && static_cast<double>(place.mass) >= goal) continue;
    const TokenKey noisy =
        KeyOf(__fadd_rn(ValueOf(key), GumbelOf(params.draw, IdOf(key))), IdOf(key));
    best = noisy > best ? noisy : best;
  }
  best = LargestKey(best, scratch);
  if (thread == 0) problem.token_ids[row] = IdOf(best);
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

Status JoinShards(Context& context, const JoinShardsArgs& args) {
  const int64_t num_ranks = args.likeliest.dim(0), num_rows = args.likeliest.dim(1);
  if (num_rows == 0) return OkStatus();
  if (args.rows != nullptr) {
    LONGHAND_RETURN_IF_ERROR(StageSampleRows(context, *args.rows, args.vocab_size));
  }
  LONGHAND_ASSIGN_OR_RETURN(void* staged, context.sample_rows.Take(context.stream, 0));
  const JoinProblem problem{static_cast<const RowParams*>(staged),
                            Elements<TokenKey>(args.likeliest),
                            Elements<TokenKey>(args.words),
                            static_cast<int>(num_ranks),
                            static_cast<int>(num_rows),
                            Elements<int32_t>(args.token_ids)};
  const auto shared_bytes =
      static_cast<size_t>(2 * num_ranks * kShardCandidates) * sizeof(TokenKey);
  return Launch("JoinShards", context.stream,
                {static_cast<unsigned>(num_rows), kMaxThreads, shared_bytes}, &JoinShardsKernel,
                problem);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
