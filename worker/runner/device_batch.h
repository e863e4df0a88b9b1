// DeviceBatch: a plan's chunks as the tensors that the decoder reads. Executor thread.
//
// All of them lie in one block of device memory and are put together in one block of page-locked
// host memory: a step costs one copy.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/model/decoder.h"
#include "worker/runner/plan_check.h"
#include "worker/runner/prefix_groups.h"
#include "worker/runner/sequence_state.h"
#include "worker/runner/token_history.h"

namespace longhand::runner {

// What decides where the tensors of a decode step lie, and their shapes: plans of one shape differ
// only in what the tensors hold. Few shapes serve all plans.
struct DecodeShape {
  int64_t num_seqs = 0;    // with padding
  int64_t max_blocks = 0;  // of a row of the block table
  bool has_adapters = false;
  friend auto operator<=>(const DecodeShape&, const DecodeShape&) = default;
};

class DeviceBatch {
 public:
  // Tokens that plans leave on the device come from `history`.
  static Result<std::unique_ptr<DeviceBatch>> Create(const PlanLimits& limits,
                                                     const TokenHistory& history,
                                                     kernels::Ops& ops);
  static int64_t WorkspaceBytes(const PlanLimits& limits);
  static int64_t StagingBytes(const PlanLimits& limits) { return 2 * WorkspaceBytes(limits); }

  // Tensors of the plan's chunks; `states` has the chunks applied. Valid until the next call. Two
  // blocks of host memory take turns: a call must not come before the Ops has copied what the one
  // before the last put together.
  Result<model::DecoderBatch> Build(const StepPlan& plan,
                                    const SequenceStates& states,
                                    TensorView encoder_cache);

  // The shape that a plan of single tokens is padded to.
  DecodeShape ShapeOf(const StepPlan& plan, const SequenceStates& states) const;
  // The same for such a plan without images, padded: sequences that are nobody's see one key of
  // block 0 and store none.
  Result<model::DecoderBatch> BuildDecode(const StepPlan& plan,
                                          const SequenceStates& states,
                                          const DecodeShape& shape);

 private:
  // Sizes of one step's tensors, and where they lie in the block.
  struct Layout {
    int64_t num_tokens = 0, num_seqs = 0, max_blocks = 0, num_image_tokens = 0;
    bool has_adapters = false;
    int64_t slot_mapping = 0;   // [T] i64
    int64_t history_idx = 0;    // [T] i64
    int64_t token_ids = 0;      // [T] i32
    int64_t positions = 0;      // [T, 3] i32
    int64_t cu_query_lens = 0;  // [S + 1] i32
    int64_t context_len = 0;    // [S] i32
    int64_t prefix_groups = 0;  // [S, 4] i32
    int64_t image_rows = 0;     // [M] i32
    int64_t cache_rows = 0;     // [M] i32
    int64_t adapters = 0;       // [T] i32, where there are any
    int64_t block_table = 0;    // [S, max_blocks] i32
    int64_t bytes = 0;
  };
  // Where the next of each are written.
  struct Cursor {
    int64_t *slot, *history_idx;
    int32_t *token_id, *position, *query_end, *context_len, *image_row, *cache_row, *blocks;
    int32_t* adapter;  // null: there are none
    int32_t num_tokens = 0;
  };

  DeviceBatch(const PlanLimits& limits, const TokenHistory& history, kernels::Ops& ops)
      : limits_(limits), history_(history), ops_(ops), prefix_groups_(limits.block_size) {}
  static Layout MakeLayout(int64_t num_tokens,
                           int64_t num_seqs,
                           int64_t max_blocks,
                           int64_t num_image_tokens,
                           bool has_adapters);
  static Layout LargestLayout(const PlanLimits& limits);
  // Blocks that the longest context of the plan takes.
  int64_t NumBlocks(const StepPlan& plan) const;
  Cursor Begin(const Layout& layout);
  void AddChunk(const SequenceChunk& chunk,
                const SequenceState& state,
                int64_t max_blocks,
                Cursor* at) const;
  static void AddPadding(int64_t max_blocks, Cursor* at);
  // Those of the plan's chunks, and each sequence of padding alone.
  void AddPrefixGroups(const StepPlan& plan, const SequenceStates& states, const Layout& layout);
  Result<model::DecoderBatch> Upload(const Layout& layout) const;

  const PlanLimits limits_;
  const TokenHistory& history_;
  kernels::Ops& ops_;
  std::array<std::unique_ptr<kernels::Buffer>, 2> host_;
  size_t turn_ = 0;  // of host_
  std::unique_ptr<kernels::Buffer> device_;
  PrefixGroups prefix_groups_;
  std::vector<PrefixCandidate> candidates_;
};

}  // namespace longhand::runner
