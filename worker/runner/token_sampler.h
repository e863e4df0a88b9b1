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
  Status Draw(TensorView logits, const std::vector<SampleRequest>& requests, TensorView token_ids);
  Status AddLogprobs(TensorView logits,
                     const std::vector<SampleRequest>& requests,
                     TensorView token_ids,
                     std::vector<SampledToken>* out);

  kernels::Ops& ops_;
  Workspace space_;
  std::vector<kernels::SampleRow> rows_;
};

}  // namespace longhand::runner
