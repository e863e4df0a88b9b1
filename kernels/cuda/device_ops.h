// One function per operation, arguments checked by Ops already, and the Ops made of them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/runtime.h"

namespace longhand::kernels::LONGHAND_DEVICE {

enum class WeightFormat : uint8_t;  // packed_weight.h

// Device memory that grows to what the largest call needed, and is reused by the next one on the
// stream.
class Workspace {
 public:
  // At least `bytes`, zeroed when it grew; kResourceExhausted.
  Result<void*> Take(const Stream& stream, size_t bytes);

 private:
  std::unique_ptr<Buffer> buffer_;
};

// Of Linear.
struct LinearState {
  Workspace sums;        // how many blocks have come, zero between calls; then sums of parts of k
  Workspace halves;      // rows of fp8 as f16, of a slice of tokens
  int shared_bytes = 0;  // that a block may have; known from the first packed weight on
  // Whether wgmma writes mma.sync's bits, of each format that it multiplies: tried with the first
  // such weight.
  struct Trial {
    bool is_done = false, is_same = false;
  };
  Trial bf16, fp8, int4;
  Trial* TrialOf(WeightFormat format);  // null: wgmma does not multiply it
};

// Of attention: whether wgmma writes mma.sync's bits, which PrepareAttention tries; for decode, and
// is no slower.
struct AttentionState {
  bool is_tried = false;
  bool prefill_has_wgmma = false, vision_has_wgmma = false, decode_has_groups = false;
  std::string decode_choice;  // of Ops::TrialResults()
};

// Of products that a library makes.
struct LargeState {
  std::unique_ptr<LargeProducts> products;  // null while bits are deterministic
  Workspace rows, sums, scratch;
  // What Reserve() took these for.
  int64_t max_weight_elements = 0, max_gate_up_features = 0;
};

// Page-locked memory, and what says that it has been copied.
struct RowStaging {
  std::unique_ptr<Buffer> memory;
  std::unique_ptr<Event> copied;
};

// What operations share.
struct Context {
  Stream stream;
  LinearState linear;
  LargeState large;
  Workspace attention;          // decode's sums of splits
  Workspace attention_arrived;  // how many of them are there: all zero between calls
  Workspace sample_rows;        // parameters, biases, suppressed ids and masks, as they are staged
  Workspace edited_logits;      // of rows with biases, penalties, suppressed ids or a mask
  Workspace sample_states;      // what a row's blocks tell each other: all zero between calls
  Workspace sample_lists;       // ids of tokens that a filter may keep
  // Where rows to be sampled are put together for one copy, in turn: the one may still be read when
  // the other is written.
  RowStaging staging[2];
  int last_staging = 0;
  AttentionState attention_state;
};

// What calls within `sizes` need at most.
int64_t AttentionWorkspaceBytes(const StepSizes& sizes);
int64_t AttentionArrivedBytes(int64_t num_seqs, int64_t num_kv_heads);
// Of sample_rows; vocab_size elements of 4 bytes a sequence are edited_logits and sample_lists.
int64_t SampleRowsBytes(const StepSizes& sizes);
inline int64_t HistoryStride(const TensorView& history) {
  return history.rank() == 0 ? 0 : history.dim(1);
}
int64_t SampleStatesBytes(int64_t num_rows);
// Of LinearState, which the first weights take when they are packed.
int64_t LinearBytes(const Stream& stream, const StepSizes& sizes);
// Of a weight of this shape.
int64_t PackedBytes(const Stream& stream, const WeightShape& shape);
// Of LargeState.
Status ReserveLarge(Context& context, const StepSizes& sizes);
int64_t LargeBytes(const Context& context, const StepSizes& sizes);
// Grows a staging, which nothing in flight may be reading.
Status GrowStaging(const Stream& stream, RowStaging& staging, int64_t bytes);

std::unique_ptr<CudaOps> MakeOps(std::string_view name, Stream stream, void (*close)(Stream&));

Result<std::unique_ptr<PackedLinear>> PackLinear(Context& context,
                                                 TensorView weight,
                                                 LinearLayout layout);
Result<std::unique_ptr<PackedLinear>> PackQuantized(Context& context,
                                                    const QuantizedWeight& weight,
                                                    LinearLayout layout);
// Whether this build has fp8 products for the stream's device.
bool MultipliesFp8(const Stream& stream);
Status Linear(Context& context, const LinearArgs& args);
Status Lora(Context& context, const LoraArgs& args);
Status QuantizeRows(Context& context, const QuantizeRowsArgs& args);
Status Embedding(Context& context, const EmbeddingArgs& args);
Status RmsNorm(Context& context, const RmsNormArgs& args);
Status Add(Context& context, const AddArgs& args);
Status MropeTable(Context& context, const MropeTableArgs& args);
Status QkvRopeWrite(Context& context, const QkvRopeWriteArgs& args);
// Tries what the device's attention kernels do, once. Not while operations are recorded: calls then
// go on with what is known.
Status PrepareAttention(Context& context);
Status PagedAttention(Context& context, const PagedAttentionArgs& args);
Status CopyBlocks(Context& context, const CopyBlocksArgs& args);
Status SwiGlu(Context& context, const SwiGluArgs& args);
Status Gelu(Context& context, const GeluArgs& args);
Status GatherRows(Context& context, const GatherRowsArgs& args);
Status ScatterRows(Context& context, const ScatterRowsArgs& args);
Status Patchify(Context& context, const PatchifyArgs& args);
Status VisionRope(Context& context, const VisionRopeArgs& args);
Status VisionAttention(Context& context, const VisionAttentionArgs& args);
Status Sample(Context& context, const SampleArgs& args);
Status StageSampleRows(Context& context, const std::vector<SampleRow>& rows, int64_t vocab_size);
Status ShardLikeliest(Context& context, const ShardLikeliestArgs& args);
Status ShardCandidates(Context& context, const ShardCandidatesArgs& args);
Status JoinShards(Context& context, const JoinShardsArgs& args);
Status PeerReduce(Context& context, const PeerReduceArgs& args);
Status PeerGather(Context& context, const PeerGatherArgs& args);
Status Logprobs(Context& context, const LogprobsArgs& args);

}  // namespace longhand::kernels::LONGHAND_DEVICE
