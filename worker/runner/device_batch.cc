#include "worker/runner/device_batch.h"

#include <algorithm>
#include <array>

namespace longhand::runner {
namespace {

int64_t MaxBlocks(const PlanLimits& limits) {
  return (limits.max_model_len + limits.block_size - 1) / limits.block_size;
}

bool HasAdapters(const StepPlan& plan, const SequenceStates& states) {
  return std::any_of(plan.chunks.begin(), plan.chunks.end(), [&](const SequenceChunk& chunk) {
    return states.at(chunk.sequence_id).adapter >= 0;
  });
}

template <typename T>
T* At(kernels::Buffer& buffer, int64_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(buffer.data()) + offset);
}

}  // namespace

DeviceBatch::Layout DeviceBatch::MakeLayout(int64_t num_tokens,
                                            int64_t num_seqs,
                                            int64_t max_blocks,
                                            int64_t num_image_tokens,
                                            bool has_adapters) {
  constexpr int64_t kAlignment = 64;
  Layout layout{.num_tokens = num_tokens,
                .num_seqs = num_seqs,
                .max_blocks = max_blocks,
                .num_image_tokens = num_image_tokens,
                .has_adapters = has_adapters};
  const auto add = [&](int64_t* offset, DType dtype, int64_t count) {
    *offset = layout.bytes;
    layout.bytes += count * static_cast<int64_t>(DTypeSize(dtype));
    layout.bytes = (layout.bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  add(&layout.slot_mapping, DType::kI64, num_tokens);
  add(&layout.history_idx, DType::kI64, num_tokens);
  add(&layout.token_ids, DType::kI32, num_tokens);
  add(&layout.positions, DType::kI32, num_tokens * 3);
  add(&layout.cu_query_lens, DType::kI32, num_seqs + 1);
  add(&layout.context_len, DType::kI32, num_seqs);
  add(&layout.prefix_groups, DType::kI32, num_seqs * 4);
  add(&layout.image_rows, DType::kI32, num_image_tokens);
  add(&layout.cache_rows, DType::kI32, num_image_tokens);
  add(&layout.adapters, DType::kI32, has_adapters ? num_tokens : 0);
  add(&layout.block_table, DType::kI32, num_seqs * max_blocks);
  return layout;
}

DeviceBatch::Layout DeviceBatch::LargestLayout(const PlanLimits& limits) {
  return MakeLayout(limits.max_num_batched_tokens, limits.max_num_seqs, MaxBlocks(limits),
                    limits.max_num_batched_tokens, limits.max_loras > 0);
}

Result<std::unique_ptr<DeviceBatch>> DeviceBatch::Create(const PlanLimits& limits,
                                                         const TokenHistory& history,
                                                         kernels::Ops& ops) {
  std::unique_ptr<DeviceBatch> batch(new DeviceBatch(limits, history, ops));
  const auto bytes = static_cast<size_t>(LargestLayout(limits).bytes);
  for (auto& host : batch->host_) {
    LONGHAND_ASSIGN_OR_RETURN(host, ops.AllocateStaging(bytes));
  }
  LONGHAND_ASSIGN_OR_RETURN(batch->device_, ops.Allocate(bytes));
  return batch;
}

int64_t DeviceBatch::WorkspaceBytes(const PlanLimits& limits) {
  return LargestLayout(limits).bytes;
}

int64_t DeviceBatch::NumBlocks(const StepPlan& plan) const {
  int64_t blocks = 1;
  for (const SequenceChunk& chunk : plan.chunks) {
    const int64_t context =
        chunk.num_computed_tokens + static_cast<int64_t>(chunk.token_ids.size());
    blocks = std::max(blocks, (context + limits_.block_size - 1) / limits_.block_size);
  }
  return blocks;
}

Result<model::DecoderBatch> DeviceBatch::Build(const StepPlan& plan,
                                               const SequenceStates& states,
                                               TensorView encoder_cache) {
  int64_t num_image_tokens = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    for (const ImageSpan& span : chunk.image_spans) num_image_tokens += span.num_tokens;
  }
  const Layout layout = MakeLayout(plan.num_tokens(), static_cast<int64_t>(plan.chunks.size()),
                                   NumBlocks(plan), num_image_tokens, HasAdapters(plan, states));
  Cursor at = Begin(layout);
  for (const SequenceChunk& chunk : plan.chunks) {
    AddChunk(chunk, states.at(chunk.sequence_id), layout.max_blocks, &at);
  }
  AddPrefixGroups(plan, states, layout);
  LONGHAND_ASSIGN_OR_RETURN(model::DecoderBatch batch, Upload(layout));
  batch.encoder_cache = encoder_cache;
  return batch;
}

DecodeShape DeviceBatch::ShapeOf(const StepPlan& plan, const SequenceStates& states) const {
  // Few sequences cost their padding most.
  constexpr int64_t kStep = 8;
  // More blocks than are used cost next to nothing.
  constexpr int64_t kFewBlocks = 16;
  const auto num_seqs = static_cast<int64_t>(plan.chunks.size());
  DecodeShape shape{.num_seqs = 1, .max_blocks = kFewBlocks};
  while (shape.num_seqs < num_seqs && shape.num_seqs < kStep) shape.num_seqs *= 2;
  if (shape.num_seqs < num_seqs) shape.num_seqs = (num_seqs + kStep - 1) / kStep * kStep;
  const int64_t blocks = NumBlocks(plan);
  while (shape.max_blocks < blocks) shape.max_blocks *= 2;
  return {std::min(shape.num_seqs, limits_.max_num_seqs),
          std::min(shape.max_blocks, MaxBlocks(limits_)), HasAdapters(plan, states)};
}

Result<model::DecoderBatch> DeviceBatch::BuildDecode(const StepPlan& plan,
                                                     const SequenceStates& states,
                                                     const DecodeShape& shape) {
  const Layout layout =
      MakeLayout(shape.num_seqs, shape.num_seqs, shape.max_blocks, 0, shape.has_adapters);
  Cursor at = Begin(layout);
  for (const SequenceChunk& chunk : plan.chunks) {
    AddChunk(chunk, states.at(chunk.sequence_id), layout.max_blocks, &at);
  }
  while (at.num_tokens < layout.num_tokens) AddPadding(layout.max_blocks, &at);
  AddPrefixGroups(plan, states, layout);
  return Upload(layout);
}

DeviceBatch::Cursor DeviceBatch::Begin(const Layout& layout) {
  turn_ = 1 - turn_;
  kernels::Buffer& host = *host_[turn_];
  LONGHAND_CHECK(layout.bytes <= static_cast<int64_t>(host.size_bytes())) << layout.bytes;
  Cursor at{.slot = At<int64_t>(host, layout.slot_mapping),
            .history_idx = At<int64_t>(host, layout.history_idx),
            .token_id = At<int32_t>(host, layout.token_ids),
            .position = At<int32_t>(host, layout.positions),
            .query_end = At<int32_t>(host, layout.cu_query_lens),
            .context_len = At<int32_t>(host, layout.context_len),
            .image_row = At<int32_t>(host, layout.image_rows),
            .cache_row = At<int32_t>(host, layout.cache_rows),
            .blocks = At<int32_t>(host, layout.block_table),
            .adapter = layout.has_adapters ? At<int32_t>(host, layout.adapters) : nullptr};
  *at.query_end++ = 0;
  return at;
}

void DeviceBatch::AddChunk(const SequenceChunk& chunk,
                           const SequenceState& state,
                           int64_t max_blocks,
                           Cursor* at) const {
  const int32_t first_row = at->num_tokens;
  const auto query_len = static_cast<int64_t>(chunk.token_ids.size());
  for (const int32_t id : chunk.token_ids) {
    const bool is_on_device = id == kTokenOnDevice;
    *at->token_id++ = is_on_device ? 0 : id;
    *at->history_idx++ =
        is_on_device
            ? history_.IdxOf(state.history_row, state.prompt_len + *state.last_output_position)
            : -1;
  }
  at->position = std::copy(chunk.positions.begin(), chunk.positions.end(), at->position);
  for (int64_t i = 0; i < query_len; ++i) {
    const int64_t position = chunk.num_computed_tokens + i;
    const int64_t block = state.block_table[static_cast<size_t>(position / limits_.block_size)];
    *at->slot++ = block * limits_.block_size + position % limits_.block_size;
  }
  const int64_t blocks = std::min(max_blocks, static_cast<int64_t>(state.block_table.size()));
  at->blocks = std::copy_n(state.block_table.begin(), blocks, at->blocks);
  at->blocks = std::fill_n(at->blocks, max_blocks - blocks, 0);
  if (at->adapter != nullptr) at->adapter = std::fill_n(at->adapter, query_len, state.adapter);
  at->num_tokens += static_cast<int32_t>(query_len);
  *at->query_end++ = at->num_tokens;
  *at->context_len++ = static_cast<int32_t>(chunk.num_computed_tokens + query_len);
  for (const ImageSpan& span : chunk.image_spans) {
    for (int32_t i = 0; i < span.num_tokens; ++i) {
      *at->image_row++ = first_row + span.offset + i;
      *at->cache_row++ = static_cast<int32_t>(span.cache_row + i);
    }
  }
}

void DeviceBatch::AddPadding(int64_t max_blocks, Cursor* at) {
  *at->token_id++ = 0;
  *at->history_idx++ = -1;
  at->position = std::fill_n(at->position, 3, 0);
  *at->slot++ = -1;
  at->blocks = std::fill_n(at->blocks, max_blocks, 0);
  if (at->adapter != nullptr) *at->adapter++ = -1;
  *at->query_end++ = ++at->num_tokens;
  *at->context_len++ = 1;
}

void DeviceBatch::AddPrefixGroups(const StepPlan& plan,
                                  const SequenceStates& states,
                                  const Layout& layout) {
  candidates_.clear();
  for (const SequenceChunk& chunk : plan.chunks) {
    candidates_.push_back(
        {.sequence_id = chunk.sequence_id,
         .block_table = states.at(chunk.sequence_id).block_table,
         .num_keys = chunk.token_ids.size() == 1 ? chunk.num_computed_tokens : 0});
  }
  auto* row = At<int32_t>(*host_[turn_], layout.prefix_groups);
  prefix_groups_.Write(candidates_, row);
  row += candidates_.size() * 4;
  for (auto i = static_cast<int32_t>(candidates_.size()); i < layout.num_seqs; ++i) {
    row = std::copy_n(std::array{i, i, i + 1, 0}.begin(), 4, row);
  }
}

Result<model::DecoderBatch> DeviceBatch::Upload(const Layout& layout) const {
  LONGHAND_RETURN_IF_ERROR(
      ops_.CopyToDevice(device_->data(), host_[turn_]->data(), static_cast<size_t>(layout.bytes)));
  const auto view = [&](int64_t offset, DType dtype, std::initializer_list<int64_t> shape) {
    return TensorView(At<char>(*device_, offset), dtype, shape);
  };
  const int64_t tokens = layout.num_tokens, seqs = layout.num_seqs;
  model::DecoderBatch batch{
      .token_ids = view(layout.token_ids, DType::kI32, {tokens}),
      .history = history_.tokens(),
      .history_idx = view(layout.history_idx, DType::kI64, {tokens}),
      .positions = view(layout.positions, DType::kI32, {tokens, 3}),
      .slot_mapping = view(layout.slot_mapping, DType::kI64, {tokens}),
      .block_table = view(layout.block_table, DType::kI32, {seqs, layout.max_blocks}),
      .cu_query_lens = view(layout.cu_query_lens, DType::kI32, {seqs + 1}),
      .context_len = view(layout.context_len, DType::kI32, {seqs}),
      .prefix_groups = view(layout.prefix_groups, DType::kI32, {seqs, 4})};
  if (layout.num_image_tokens > 0) {
    batch.image_rows = view(layout.image_rows, DType::kI32, {layout.num_image_tokens});
    batch.cache_rows = view(layout.cache_rows, DType::kI32, {layout.num_image_tokens});
  }
  if (layout.has_adapters) batch.adapters = view(layout.adapters, DType::kI32, {tokens});
  return batch;
}

}  // namespace longhand::runner
