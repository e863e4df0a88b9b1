// The join of what all ranks say of their tokens (shard_sampling.cu): a token for each row, or -1
// where that does not suffice. kernels/shard_sampling.h has the words.
//
//   likeliest  [ranks, S]               i64
//   words      [ranks, S, kShardWords]  i64
//   token_ids  [S]                      i32
//   history    [N, L]                   i32; the token is appended
//
// Each candidate's place is looked up in every rank's list, so that nothing is sorted again.
//
// Launch     a block of 256 threads for each row.
// Cost       reads 8 * kShardWords bytes a rank and row.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/sampling_search.h"
#include "kernels/cuda/shard_words.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

struct JoinProblem {
  const RowParams* params;
  const TokenKey* likeliest;  // [num_ranks, num_rows]
  const TokenKey* words;      // [num_ranks, num_rows, kShardWords]
  int num_ranks, num_rows;
  int32_t* token_ids;
  int32_t* history;  // [sequences, history_stride]
  int64_t history_stride;

  __device__ void Write(int row, int32_t token_id) const {
    WriteToken(params[row], token_id, &token_ids[row], history, history_stride);
  }
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

__global__ void __launch_bounds__(kMaxThreads, 2) JoinShardsKernel(JoinProblem problem) {
  __shared__ TokenKey scratch[kWarpSize];
  const int row = static_cast<int>(blockIdx.x), lane = threadIdx.x % kWarpSize;
  const int num_keys = problem.num_ranks * kCandidates;
  const int num_threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const RowParams params = problem.params[row];
  const TokenKey likeliest =
      LikeliestOfAll(problem.likeliest, problem.num_ranks, problem.num_rows, row);
  if (!params.Draws(ValueOf(likeliest))) {
    if (thread == 0) problem.Write(row, IdOf(likeliest));
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
    if (thread == 0) problem.Write(row, IdOf(drawn));
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
    if (thread == 0) problem.Write(row, -1);
    return;
  }
  const double goal =
      static_cast<double>(params.top_p) * static_cast<double>(by_count ? kept_mass : all_mass);
  if (by_mass && static_cast<double>(kept_mass) >= goal) is_closed = true;
  if (!is_closed) {
    // All that is known is kept: the best draw of all tokens is that of the kept ones if it is
    // known.
    if (thread == 0) problem.Write(row, drawn_by_score >= bound ? IdOf(drawn) : -1);
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
  if (thread == 0) problem.Write(row, IdOf(best));
}

}  // namespace

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
                            Elements<int32_t>(args.token_ids),
                            Elements<int32_t>(args.history),
                            HistoryStride(args.history)};
  const auto shared_bytes =
      static_cast<size_t>(2 * num_ranks * kShardCandidates) * sizeof(TokenKey);
  return Launch("JoinShards", context.stream,
                {static_cast<unsigned>(num_rows), kMaxThreads, shared_bytes}, &JoinShardsKernel,
                problem);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
