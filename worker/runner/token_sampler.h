// TokenSampler: from logits to tokens and log-probabilities on the host. Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/device_tensor.h"
#include "worker/model/workspace.h"
#include "worker/runner/sequence_state.h"

namespace longhand::runner {

// A row of logits to sample from.
struct SampleRequest {
  const SequenceChunk* chunk = nullptr;
  const SequenceState* state = nullptr;
};

class TokenSampler {
 public:
  // All ranks' logits on every rank, [rows, vocab_size] f32: a collective.
  using GatherLogits = std::function<Result<TensorView>()>;

  // `max_rows`: of logits at once; `num_ranks` share the vocabulary; `history`: what rows of states
  // are rows of (kernels/ops.h), where tokens are appended.
  static Result<std::unique_ptr<TokenSampler>> Create(int64_t max_rows,
                                                      int64_t num_ranks,
                                                      TensorView history,
                                                      kernels::Ops& ops);
  static int64_t WorkspaceBytes(int64_t max_rows, int64_t num_ranks) {
    return model::SumParts(Parts(max_rows, num_ranks));
  }
  // Of host_ids_.
  static int64_t StagingBytes(int64_t max_rows) {
    return 2 * max_rows * static_cast<int64_t>(sizeof(int32_t));
  }

  // A token for each row of `logits`, this rank's part of them; every rank gets the same. All
  // logits are gathered where a token, or what a request asks for, needs them. Log-probabilities
  // are computed on rank 0 only.
  Result<std::vector<SampledToken>> Sample(kernels::VocabShard logits,
                                           const std::vector<SampleRequest>& requests,
                                           const GatherLogits& gather,
                                           comm::Communicator& communicator);
  // Sample() in three steps, for those that are recorded. Stage: `requests` and rows of nobody up
  // to `num_rows`. DrawStaged: operations and collectives alone, for as many rows of logits. Fetch:
  // what was drawn for `requests`; what `gather` gives has a row for each, and may have more.
  Status Stage(const std::vector<SampleRequest>& requests, int64_t num_rows, int64_t vocab_size);
  Status DrawStaged(kernels::VocabShard logits, comm::Communicator& communicator);
  Result<std::vector<SampledToken>> Fetch(const std::vector<SampleRequest>& requests,
                                          const GatherLogits& gather,
                                          comm::Communicator& communicator);
  // Instead of Fetch, where all that is wanted of the rows is tokens that the draw settles:
  // enqueues the copy of them to where the span will have them. The call after the next writes over
  // it.
  Result<std::span<const int32_t>> CopyIds(int64_t count);
  // Whether a row of these parameters is such a one.
  bool DrawSettles(const SamplingParams& params) const;
  // The log-probability of token_ids[i] in row i, and the `num_top` likeliest there. For rank 0.
  Result<std::vector<SampledToken>> Score(TensorView logits,
                                          const std::vector<int32_t>& token_ids,
                                          int64_t num_top);

 private:
  struct Workspace {
    model::DeviceTensor token_ids;     // [rows] i32
    model::DeviceTensor likeliest;     // [ranks, rows] i64; nothing on one rank
    model::DeviceTensor words;         // [ranks, rows, kShardWords] i64; nothing on one rank
    model::DeviceTensor logprobs;      // [rows] f32
    model::DeviceTensor top_ids;       // [rows, kMaxTop] i32
    model::DeviceTensor top_logprobs;  // [rows, kMaxTop] f32
  };
  static constexpr int64_t kMaxTop = kMaxTopLogprobs;

  TokenSampler(int64_t num_ranks, TensorView history, kernels::Ops& ops)
      : num_ranks_(num_ranks), history_(history), ops_(ops) {}
  static std::vector<model::WorkspacePart<Workspace>> Parts(int64_t max_rows, int64_t num_ranks);
  void CollectRows(const std::vector<SampleRequest>& requests);
  Status Draw(kernels::VocabShard logits, comm::Communicator& communicator);
  // To where the latest CopyIds went.
  Result<std::span<const int32_t>> CopyIdsAgain(int64_t count);
  Status Synchronize(comm::Communicator& communicator);
  // Of the tokens in `token_ids`, which `out` names, with the `num_top` likeliest of each row.
  Status AddLogprobs(TensorView logits,
                     TensorView token_ids,
                     int64_t num_top,
                     std::vector<SampledToken>* out);

  const int64_t num_ranks_;
  const TensorView history_;
  kernels::Ops& ops_;
  Workspace space_;
  std::unique_ptr<kernels::Buffer> host_ids_;  // [2, rows] i32, on their way from the device
  int64_t turn_ = 0;                           // of host_ids_
  std::vector<kernels::SampleRow> rows_;
};

}  // namespace longhand::runner
