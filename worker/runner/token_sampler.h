// TokenSampler: from logits to tokens and log-probabilities on the host. Executor thread.
#pragma once

#include <cstdint>
#include <memory>
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
  // `max_rows`: of logits at once.
  static Result<std::unique_ptr<TokenSampler>> Create(int64_t max_rows, kernels::Ops& ops);
  static int64_t WorkspaceBytes(int64_t max_rows) { return model::SumParts(Parts(max_rows)); }

  // logits [requests, vocab_size] f32. Rank 0 samples and tells the others; log-probabilities are
  // computed on rank 0 only, where a request asks for them.
  Result<std::vector<SampledToken>> Sample(TensorView logits,
                                           const std::vector<SampleRequest>& requests,
                                           comm::Communicator& communicator);
  // Sample() in three steps, for those that are recorded. Stage: `requests` and rows of nobody up
  // to `num_rows`; rank 0 only. DrawStaged: an operation alone, for as many rows of logits; rank 0
  // only. Fetch: what was drawn for `requests`; `logits` has a row for each, and may have more.
  Status Stage(const std::vector<SampleRequest>& requests, int64_t num_rows, int64_t vocab_size);
  Status DrawStaged(TensorView logits);
  Result<std::vector<SampledToken>> Fetch(TensorView logits,
                                          const std::vector<SampleRequest>& requests,
                                          comm::Communicator& communicator);
  // The log-probability of token_ids[i] in row i. For rank 0.
  Result<std::vector<float>> Score(TensorView logits, const std::vector<int32_t>& token_ids);

 private:
  struct Workspace {
    model::DeviceTensor token_ids;     // [rows] i32
    model::DeviceTensor logprobs;      // [rows] f32
    model::DeviceTensor top_ids;       // [rows, kMaxTop] i32
    model::DeviceTensor top_logprobs;  // [rows, kMaxTop] f32
  };
  static constexpr int64_t kMaxTop = 20;

  explicit TokenSampler(kernels::Ops& ops) : ops_(ops) {}
  static std::vector<model::WorkspacePart<Workspace>> Parts(int64_t max_rows);
  void CollectRows(const std::vector<SampleRequest>& requests);
  Status AddLogprobs(TensorView logits,
                     const std::vector<SampleRequest>& requests,
                     TensorView token_ids,
                     std::vector<SampledToken>* out);

  kernels::Ops& ops_;
  Workspace space_;
  std::unique_ptr<kernels::Buffer> host_ids_;  // [rows] i32, on their way from the device
  std::vector<kernels::SampleRow> rows_;
};

}  // namespace longhand::runner
