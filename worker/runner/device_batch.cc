#include "worker/runner/device_batch.h"

#include <algorithm>

namespace longhand::runner {
namespace {

int64_t MaxBlocks(const PlanLimits& limits) {
  return (limits.max_model_len + limits.block_size - 1) / limits.block_size;
}

template <typename T>
Status Copy(kernels::Ops& ops, const std::vector<T>& from, const model::DeviceTensor& to) {
  if (from.empty()) return OkStatus();
  return ops.CopyToDevice(to.view.data(), from.data(), from.size() * sizeof(T));
}

}  // namespace

DeviceBatch::DeviceBatch(const PlanLimits& limits, kernels::Ops& ops) : limits_(limits), ops_(ops) {
  const auto tokens = static_cast<size_t>(limits.max_num_batched_tokens);
  const auto seqs = static_cast<size_t>(limits.max_num_seqs);
  token_ids_.reserve(tokens);
  positions_.reserve(tokens * 3);
  slot_mapping_.reserve(tokens);
  block_table_.reserve(seqs * static_cast<size_t>(MaxBlocks(limits)));
  cu_query_lens_.reserve(seqs + 1);
  context_len_.reserve(seqs);
  image_rows_.reserve(tokens);
  cache_rows_.reserve(tokens);
}

Result<std::unique_ptr<DeviceBatch>> DeviceBatch::Create(const PlanLimits& limits,
                                                         kernels::Ops& ops) {
  std::unique_ptr<DeviceBatch> batch(new DeviceBatch(limits, ops));
  const Status status = model::AllocateParts(ops, Parts(limits), &batch->space_);
  LONGHAND_RETURN_IF_ERROR(status.WithContext("batch"));
  return batch;
}

std::vector<model::WorkspacePart<DeviceBatch::Workspace>> DeviceBatch::Parts(
    const PlanLimits& limits) {
  const int64_t t = limits.max_num_batched_tokens;
  const int64_t s = limits.max_num_seqs;
  return {
      {&Workspace::token_ids, DType::kI32, t, 1},
      {&Workspace::positions, DType::kI32, t, 3},
      {&Workspace::slot_mapping, DType::kI64, t, 1},
      {&Workspace::block_table, DType::kI32, s, MaxBlocks(limits)},
      {&Workspace::cu_query_lens, DType::kI32, s + 1, 1},
      {&Workspace::context_len, DType::kI32, s, 1},
      {&Workspace::image_rows, DType::kI32, t, 1},
      {&Workspace::cache_rows, DType::kI32, t, 1},
  };
}

int64_t DeviceBatch::WorkspaceBytes(const PlanLimits& limits) {
  return model::SumParts(Parts(limits));
}

Result<model::DecoderBatch> DeviceBatch::Build(const StepPlan& plan,
                                               const SequenceStates& states,
                                               TensorView encoder_cache) {
  token_ids_.clear();
  positions_.clear();
  slot_mapping_.clear();
  block_table_.clear();
  cu_query_lens_.assign(1, 0);
  context_len_.clear();
  image_rows_.clear();
  cache_rows_.clear();
  int64_t width = 1;
  for (const SequenceChunk& chunk : plan.chunks) {
    const int64_t context =
        chunk.num_computed_tokens + static_cast<int64_t>(chunk.token_ids.size());
    width = std::max(width, (context + limits_.block_size - 1) / limits_.block_size);
  }
  for (const SequenceChunk& chunk : plan.chunks) {
    AddChunk(chunk, states.at(chunk.sequence_id), width);
  }

  LONGHAND_RETURN_IF_ERROR(Copy(ops_, token_ids_, space_.token_ids));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, positions_, space_.positions));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, slot_mapping_, space_.slot_mapping));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, block_table_, space_.block_table));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, cu_query_lens_, space_.cu_query_lens));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, context_len_, space_.context_len));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, image_rows_, space_.image_rows));
  LONGHAND_RETURN_IF_ERROR(Copy(ops_, cache_rows_, space_.cache_rows));
  const auto tokens = static_cast<int64_t>(token_ids_.size());
  const auto seqs = static_cast<int64_t>(context_len_.size());
  const auto images = static_cast<int64_t>(image_rows_.size());
  model::DecoderBatch batch{.token_ids = model::Reshape(space_.token_ids.view, {tokens}),
                            .positions = model::Reshape(space_.positions.view, {tokens, 3}),
                            .slot_mapping = model::Reshape(space_.slot_mapping.view, {tokens}),
                            .block_table = model::Reshape(space_.block_table.view, {seqs, width}),
                            .cu_query_lens = model::Reshape(space_.cu_query_lens.view, {seqs + 1}),
                            .context_len = model::Reshape(space_.context_len.view, {seqs}),
                            .encoder_cache = encoder_cache};
  if (images > 0) {
    batch.image_rows = model::Reshape(space_.image_rows.view, {images});
    batch.cache_rows = model::Reshape(space_.cache_rows.view, {images});
  }
  return batch;
}

void DeviceBatch::AddChunk(const SequenceChunk& chunk,
                           const SequenceState& state,
                           int64_t table_width) {
  const auto first_row = static_cast<int32_t>(token_ids_.size());
  const auto query_len = static_cast<int64_t>(chunk.token_ids.size());
  for (const int32_t id : chunk.token_ids) {
    token_ids_.push_back(id == kTokenOnDevice ? *state.last_token : id);
  }
  positions_.insert(positions_.end(), chunk.positions.begin(), chunk.positions.end());
  for (int64_t i = 0; i < query_len; ++i) {
    const int64_t position = chunk.num_computed_tokens + i;
    const int64_t block = state.block_table[static_cast<size_t>(position / limits_.block_size)];
    slot_mapping_.push_back(block * limits_.block_size + position % limits_.block_size);
  }
  const int64_t blocks = std::min(table_width, static_cast<int64_t>(state.block_table.size()));
  block_table_.insert(block_table_.end(), state.block_table.begin(),
                      state.block_table.begin() + blocks);
  block_table_.insert(block_table_.end(), static_cast<size_t>(table_width - blocks), 0);
  cu_query_lens_.push_back(static_cast<int32_t>(first_row + query_len));
  context_len_.push_back(static_cast<int32_t>(chunk.num_computed_tokens + query_len));
  for (const ImageSpan& span : chunk.image_spans) {
    for (int32_t i = 0; i < span.num_tokens; ++i) {
      image_rows_.push_back(first_row + span.offset + i);
      cache_rows_.push_back(static_cast<int32_t>(span.cache_row + i));
    }
  }
}

}  // namespace longhand::runner
