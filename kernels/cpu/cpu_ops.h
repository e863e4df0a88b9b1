// The CPU backend: one function per operation, arguments checked by Ops already. f32 activations;
// weights f32, bf16 or codes, KV f32, bf16 or int8.
#pragma once

#include <memory>

#include "kernels/cpu/cpu_context.h"
#include "kernels/ops.h"

namespace longhand::kernels::cpu {

int64_t PackedBytes(const WeightShape& shape);
Result<std::unique_ptr<PackedLinear>> PackLinear(CpuContext& cpu,
                                                 TensorView weight,
                                                 LinearLayout layout);
Result<std::unique_ptr<PackedLinear>> PackQuantized(CpuContext& cpu,
                                                    const QuantizedWeight& weight,
                                                    LinearLayout layout);
Status Linear(CpuContext& cpu, const LinearArgs& args);
Status Lora(CpuContext& cpu, const LoraArgs& args);
Status QuantizeRows(CpuContext& cpu, const QuantizeRowsArgs& args);
Status Embedding(CpuContext& cpu, const EmbeddingArgs& args);
Status RmsNorm(CpuContext& cpu, const RmsNormArgs& args);
Status Add(CpuContext& cpu, const AddArgs& args);
Status MropeTable(CpuContext& cpu, const MropeTableArgs& args);
Status QkvRopeWrite(CpuContext& cpu, const QkvRopeWriteArgs& args);
Status PagedAttention(CpuContext& cpu, const PagedAttentionArgs& args);
Status SwiGlu(CpuContext& cpu, const SwiGluArgs& args);
Status Gelu(CpuContext& cpu, const GeluArgs& args);
Status GatherRows(CpuContext& cpu, const GatherRowsArgs& args);
Status ScatterRows(CpuContext& cpu, const ScatterRowsArgs& args);
Status Patchify(CpuContext& cpu, const PatchifyArgs& args);
Status VisionRope(CpuContext& cpu, const VisionRopeArgs& args);
Status VisionAttention(CpuContext& cpu, const VisionAttentionArgs& args);
Status Sample(CpuContext& cpu, const SampleArgs& args);
Status ShardLikeliest(CpuContext& cpu, const ShardLikeliestArgs& args);
Status ShardCandidates(CpuContext& cpu, const ShardCandidatesArgs& args);
Status JoinShards(CpuContext& cpu, const JoinShardsArgs& args);
Status Logprobs(CpuContext& cpu, const LogprobsArgs& args);

// kUnimplemented unless the activations are f32.
Status CheckActivations(const TensorView& tensor);

// kUnimplemented unless the KV cache has a dtype and head_dim that there are kernels for.
Status CheckKv(const TensorView& kv_cache);

// Calls fn(begin, end, thread) for ranges that cover the rows, on as many threads as `elements` of
// work deserve.
template <typename Fn>
void ForRows(CpuContext& cpu, int64_t num_rows, int64_t elements, Fn&& fn) {
  // Below this a thread costs more to wake than it saves.
  constexpr int64_t kElementsPerTask = 16384;
  const int64_t most = cpu.pool.num_threads() * int64_t{4};
  int64_t tasks = elements / kElementsPerTask;
  tasks = tasks > most ? most : tasks;
  tasks = tasks > num_rows ? num_rows : tasks < 1 ? 1 : tasks;
  cpu.pool.Run(tasks, [&](int64_t task, int thread) {
    fn(num_rows * task / tasks, num_rows * (task + 1) / tasks, thread);
  });
}

enum class InstructionSet { kAvx2, kAvx512 };
// kUnimplemented where the CPU lacks it. The results do not depend on it, so this is for tests and
// measurements; CreateCpuOps takes the best.
Result<std::unique_ptr<Ops>> CreateCpuOpsFor(InstructionSet instruction_set, int num_threads);

}  // namespace longhand::kernels::cpu
