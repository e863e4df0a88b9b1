#include "worker/runner/token_history.h"

namespace longhand::runner {
namespace {

int64_t RowLen(const PlanLimits& limits) { return limits.max_model_len + 1; }

}  // namespace

Result<std::unique_ptr<TokenHistory>> TokenHistory::Create(const PlanLimits& limits,
                                                           kernels::Ops& ops) {
  std::unique_ptr<TokenHistory> history(new TokenHistory(ops));
  LONGHAND_ASSIGN_OR_RETURN(
      history->tokens_,
      model::AllocateTensor(ops, DType::kI32, {limits.max_num_seqs, RowLen(limits)}));
  history->free_rows_.reserve(static_cast<size_t>(limits.max_num_seqs));
  history->FreeAll();
  return history;
}

int64_t TokenHistory::WorkspaceBytes(const PlanLimits& limits) {
  return limits.max_num_seqs * RowLen(limits) * static_cast<int64_t>(sizeof(int32_t));
}

int32_t TokenHistory::TakeRow() {
  LONGHAND_CHECK(!free_rows_.empty());
  const int32_t row = free_rows_.back();
  free_rows_.pop_back();
  return row;
}

void TokenHistory::FreeAll() {
  free_rows_.clear();
  for (auto row = static_cast<int32_t>(tokens_.view.dim(0)); row-- > 0;) free_rows_.push_back(row);
}

Status TokenHistory::Fill(int32_t row,
                          std::span<const int32_t> prompt_token_ids,
                          std::span<const int32_t> output_token_ids) {
  int32_t* to = tokens_.view.as<int32_t>() + IdxOf(row, 0);
  for (const std::span<const int32_t> ids : {prompt_token_ids, output_token_ids}) {
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(to, ids.data(), ids.size_bytes()));
    to += ids.size();
  }
  return OkStatus();
}

}  // namespace longhand::runner
