// DeviceBatch: a plan's chunks as the tensors that the decoder reads. Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/model/decoder.h"
#include "worker/model/device_tensor.h"
#include "worker/model/workspace.h"
#include "worker/runner/plan_check.h"
#include "worker/runner/sequence_state.h"

namespace longhand::runner {

class DeviceBatch {
 public:
  static Result<std::unique_ptr<DeviceBatch>> Create(const PlanLimits& limits, kernels::Ops& ops);
  static int64_t WorkspaceBytes(const PlanLimits& limits);

  // Tensors of the plan's chunks; `states` has the chunks applied. Valid until the next call, which
  // must not come before the Ops has copied them (Synchronize).
  Result<model::DecoderBatch> Build(const StepPlan& plan,
                                    const SequenceStates& states,
                                    TensorView encoder_cache);

 private:
  // T = max_num_batched_tokens, S = max_num_seqs, B = blocks of the longest sequence.
  struct Workspace {
    model::DeviceTensor token_ids;      // [T] i32
    model::DeviceTensor positions;      // [T, 3] i32
    model::DeviceTensor slot_mapping;   // [T] i64
    model::DeviceTensor block_table;    // [S, B] i32
    model::DeviceTensor cu_query_lens;  // [S + 1] i32
    model::DeviceTensor context_len;    // [S] i32
    model::DeviceTensor image_rows;     // [T] i32
    model::DeviceTensor cache_rows;     // [T] i32
  };

  DeviceBatch(const PlanLimits& limits, kernels::Ops& ops);
  static std::vector<model::WorkspacePart<Workspace>> Parts(const PlanLimits& limits);
  void AddChunk(const SequenceChunk& chunk, const SequenceState& state, int64_t table_width);

  const PlanLimits limits_;
  kernels::Ops& ops_;
  Workspace space_;
  // The same on the host, on their way to the device.
  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<int64_t> slot_mapping_;
  std::vector<int32_t> block_table_;
  std::vector<int32_t> cu_query_lens_;
  std::vector<int32_t> context_len_;
  std::vector<int32_t> image_rows_;
  std::vector<int32_t> cache_rows_;
};

}  // namespace longhand::runner
