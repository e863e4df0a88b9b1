// TokenHistory: the tokens of the sequences at hand, on the device, where sampling appends them
// (kernels/ops.h, "Histories"). Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/ops.h"
#include "worker/model/device_tensor.h"
#include "worker/runner/plan_check.h"

namespace longhand::runner {

class TokenHistory {
 public:
  static Result<std::unique_ptr<TokenHistory>> Create(const PlanLimits& limits, kernels::Ops& ops);
  static int64_t WorkspaceBytes(const PlanLimits& limits);

  // [max_num_seqs, max_model_len + 1] i32: a sequence's tokens, and the one behind them.
  TensorView tokens() const { return tokens_.view; }
  // Of an element, counted over all rows.
  int64_t IdxOf(int32_t row, int64_t position) const {
    return row * tokens_.view.dim(1) + position;
  }

  // A row of nobody's; plans are checked to have no more sequences than there are rows.
  int32_t TakeRow();
  void FreeRow(int32_t row) { free_rows_.push_back(row); }
  void FreeAll();

  // Ordered with the operations: the row begins with these tokens. They must stay until
  // Ops::Synchronize().
  Status Fill(int32_t row,
              std::span<const int32_t> prompt_token_ids,
              std::span<const int32_t> output_token_ids);

 private:
  explicit TokenHistory(kernels::Ops& ops) : ops_(ops) {}

  kernels::Ops& ops_;
  model::DeviceTensor tokens_;
  std::vector<int32_t> free_rows_;
};

}  // namespace longhand::runner
