// What each operation means, in plain loops: one function per operation, arguments checked by Ops
// already.
//
// Sums and functions are computed in double and rounded once, so that the error seen against
// another backend is that backend's own.
#pragma once

#include "common/status.h"
#include "kernels/ops.h"

namespace longhand::kernels::reference {

int64_t PackedBytes(const WeightShape& shape);
Result<std::unique_ptr<PackedLinear>> PackLinear(TensorView weight, LinearLayout layout);
Result<std::unique_ptr<PackedLinear>> PackQuantized(const QuantizedWeight& weight,
                                                    LinearLayout layout);
Status Linear(const LinearArgs& args);
Status Lora(const LoraArgs& args);
Status QuantizeRows(const QuantizeRowsArgs& args);
Status Embedding(const EmbeddingArgs& args);
Status RmsNorm(const RmsNormArgs& args);
Status Add(const AddArgs& args);
Status MropeTable(const MropeTableArgs& args);
Status QkvRopeWrite(const QkvRopeWriteArgs& args);
Status PagedAttention(const PagedAttentionArgs& args);
Status SwiGlu(const SwiGluArgs& args);
Status Gelu(const GeluArgs& args);
Status GatherRows(const GatherRowsArgs& args);
Status ScatterRows(const ScatterRowsArgs& args);
Status Patchify(const PatchifyArgs& args);
Status VisionRope(const VisionRopeArgs& args);
Status VisionAttention(const VisionAttentionArgs& args);
Status Sample(const SampleArgs& args);
Status ShardLikeliest(const ShardLikeliestArgs& args);
Status ShardCandidates(const ShardCandidatesArgs& args);
Status JoinShards(const JoinShardsArgs& args);
Status Logprobs(const LogprobsArgs& args);

}  // namespace longhand::kernels::reference
