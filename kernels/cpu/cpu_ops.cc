#include "kernels/cpu/cpu_ops.h"

#include <algorithm>
#include <cstring>

#include "kernels/host_memory.h"

namespace longhand::kernels {
namespace cpu {
namespace {

class CpuOps final : public HostOps {
 public:
  CpuOps(int num_threads,
         const LinearKernels& linear,
         const Int8Kernels& int8,
         const AttentionKernels& attention,
         const RowKernels& rows)
      : cpu_(num_threads, linear, int8, attention, rows) {}

  std::string_view name() const override { return "cpu"; }
  // The system clears memory when it is written to first, which takes a second for some gigabytes.
  Result<std::unique_ptr<Buffer>> Allocate(size_t bytes) override {
    LONGHAND_ASSIGN_OR_RETURN(auto buffer, AllocateHostUnwritten(bytes));
    constexpr size_t kPiece = size_t{32} << 20;
    auto* const begin = static_cast<char*>(buffer->data());
    cpu_.pool.Run(static_cast<int64_t>((bytes + kPiece - 1) / kPiece), [&](int64_t piece, int) {
      const size_t at = static_cast<size_t>(piece) * kPiece;
      std::memset(begin + at, 0, std::min(kPiece, bytes - at));
    });
    return buffer;
  }
  DType ActivationDType(DType) const override { return DType::kF32; }
  int64_t PackedBytes(const WeightShape& shape) const override { return cpu::PackedBytes(shape); }
  std::optional<uint64_t> WorkMark() const override { return cpu_.pool.work_mark(); }
  bool HasKvDType(DType kv) const override {
    return kv == DType::kF32 || kv == DType::kBf16 || kv == DType::kI8;
  }

 private:
  Result<std::unique_ptr<PackedLinear>> DoPackLinear(TensorView weight,
                                                     LinearLayout layout) override {
    return cpu::PackLinear(cpu_, weight, layout);
  }
  Result<std::unique_ptr<PackedLinear>> DoPackQuantized(const QuantizedWeight& weight,
                                                        LinearLayout layout) override {
    return cpu::PackQuantized(cpu_, weight, layout);
  }
  Status DoLinear(const LinearArgs& args) override { return cpu::Linear(cpu_, args); }
  Status DoLora(const LoraArgs& args) override { return cpu::Lora(cpu_, args); }
  Status DoQuantizeRows(const QuantizeRowsArgs& args) override {
    return cpu::QuantizeRows(cpu_, args);
  }
  Status DoEmbedding(const EmbeddingArgs& args) override { return cpu::Embedding(cpu_, args); }
  Status DoRmsNorm(const RmsNormArgs& args) override { return cpu::RmsNorm(cpu_, args); }
  Status DoAdd(const AddArgs& args) override { return cpu::Add(cpu_, args); }
  Status DoMropeTable(const MropeTableArgs& args) override { return cpu::MropeTable(cpu_, args); }
  Status DoQkvRopeWrite(const QkvRopeWriteArgs& args) override {
    return cpu::QkvRopeWrite(cpu_, args);
  }
  Status DoPagedAttention(const PagedAttentionArgs& args) override {
    return cpu::PagedAttention(cpu_, args);
  }
  Status DoSwiGlu(const SwiGluArgs& args) override { return cpu::SwiGlu(cpu_, args); }
  Status DoGelu(const GeluArgs& args) override { return cpu::Gelu(cpu_, args); }
  Status DoGatherRows(const GatherRowsArgs& args) override { return cpu::GatherRows(cpu_, args); }
  Status DoScatterRows(const ScatterRowsArgs& args) override {
    return cpu::ScatterRows(cpu_, args);
  }
  Status DoPatchify(const PatchifyArgs& args) override { return cpu::Patchify(cpu_, args); }
  Status DoVisionRope(const VisionRopeArgs& args) override { return cpu::VisionRope(cpu_, args); }
  Status DoVisionAttention(const VisionAttentionArgs& args) override {
    return cpu::VisionAttention(cpu_, args);
  }
  Status DoSample(const SampleArgs& args) override { return cpu::Sample(cpu_, args); }
  Status DoShardLikeliest(const ShardLikeliestArgs& args) override {
    return cpu::ShardLikeliest(cpu_, args);
  }
  Status DoShardCandidates(const ShardCandidatesArgs& args) override {
    return cpu::ShardCandidates(cpu_, args);
  }
  Status DoJoinShards(const JoinShardsArgs& args) override { return cpu::JoinShards(cpu_, args); }
  Status DoLogprobs(const LogprobsArgs& args) override { return cpu::Logprobs(cpu_, args); }

  CpuContext cpu_;
};

bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool HasVnni() { return __builtin_cpu_supports("avx512vnni"); }

bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

Status CheckActivations(const TensorView& tensor) {
  if (tensor.dtype() == DType::kF32) return OkStatus();
  return Unimplemented("activations are ", DTypeName(tensor.dtype()),
                       "; the CPU backend computes in float32 only");
}

Result<std::unique_ptr<Ops>> CreateCpuOpsFor(InstructionSet instruction_set, int num_threads) {
  if (num_threads < 1) {
    return InvalidArgument("num_threads is ", num_threads, "; it must be at least 1");
  }
  switch (instruction_set) {
    case InstructionSet::kAvx512:
      if (!HasAvx512()) break;
      return std::unique_ptr<Ops>(std::make_unique<CpuOps>(num_threads, LinearAvx512(),
                                                           HasVnni() ? Int8Vnni() : Int8Avx2(),
                                                           AttentionAvx512(), RowsAvx512()));
    case InstructionSet::kAvx2:
      if (!HasAvx2()) break;
      return std::unique_ptr<Ops>(std::make_unique<CpuOps>(num_threads, LinearAvx2(), Int8Avx2(),
                                                           AttentionAvx2(), RowsAvx2()));
  }
  return Unimplemented("this CPU does not have AVX2 with FMA, or AVX-512 F, BW, DQ and VL");
}

}  // namespace cpu

Result<std::unique_ptr<Ops>> CreateCpuOps(int num_threads) {
  Result<std::unique_ptr<Ops>> ops =
      cpu::CreateCpuOpsFor(cpu::InstructionSet::kAvx512, num_threads);
  if (ops.ok() || ops.status().code() != StatusCode::kUnimplemented) return ops;
  return cpu::CreateCpuOpsFor(cpu::InstructionSet::kAvx2, num_threads);
}

}  // namespace longhand::kernels
