// The reference backend: one function per operation, in host memory, on the caller's thread.
#include "kernels/reference/reference_ops.h"

#include "kernels/host_memory.h"

namespace longhand::kernels {
namespace {

class ReferenceOps final : public HostOps {
 public:
  std::string_view name() const override { return "reference"; }
  DType ActivationDType(DType model_dtype) const override { return model_dtype; }
  int64_t PackedBytes(const WeightShape& shape) const override {
    return reference::PackedBytes(shape);
  }

 private:
  Result<std::unique_ptr<PackedLinear>> DoPackLinear(TensorView weight,
                                                     LinearLayout layout) override {
    return reference::PackLinear(weight, layout);
  }
  Result<std::unique_ptr<PackedLinear>> DoPackQuantized(const QuantizedWeight& weight,
                                                        LinearLayout layout) override {
    return reference::PackQuantized(weight, layout);
  }
  Status DoLinear(const LinearArgs& args) override { return reference::Linear(args); }
  Status DoLora(const LoraArgs& args) override { return reference::Lora(args); }
  Status DoQuantizeRows(const QuantizeRowsArgs& args) override {
    return reference::QuantizeRows(args);
  }
  Status DoEmbedding(const EmbeddingArgs& args) override { return reference::Embedding(args); }
  Status DoRmsNorm(const RmsNormArgs& args) override { return reference::RmsNorm(args); }
  Status DoAdd(const AddArgs& args) override { return reference::Add(args); }
  Status DoMropeTable(const MropeTableArgs& args) override { return reference::MropeTable(args); }
  Status DoQkvRopeWrite(const QkvRopeWriteArgs& args) override {
    return reference::QkvRopeWrite(args);
  }
  Status DoPagedAttention(const PagedAttentionArgs& args) override {
    return reference::PagedAttention(args);
  }
  Status DoSwiGlu(const SwiGluArgs& args) override { return reference::SwiGlu(args); }
  Status DoGelu(const GeluArgs& args) override { return reference::Gelu(args); }
  Status DoGatherRows(const GatherRowsArgs& args) override { return reference::GatherRows(args); }
  Status DoScatterRows(const ScatterRowsArgs& args) override {
    return reference::ScatterRows(args);
  }
  Status DoPatchify(const PatchifyArgs& args) override { return reference::Patchify(args); }
  Status DoVisionRope(const VisionRopeArgs& args) override { return reference::VisionRope(args); }
  Status DoVisionAttention(const VisionAttentionArgs& args) override {
    return reference::VisionAttention(args);
  }
  Status DoSample(const SampleArgs& args) override { return reference::Sample(args); }
  Status DoShardLikeliest(const ShardLikeliestArgs& args) override {
    return reference::ShardLikeliest(args);
  }
  Status DoShardCandidates(const ShardCandidatesArgs& args) override {
    return reference::ShardCandidates(args);
  }
  Status DoJoinShards(const JoinShardsArgs& args) override { return reference::JoinShards(args); }
  Status DoLogprobs(const LogprobsArgs& args) override { return reference::Logprobs(args); }
};

}  // namespace

std::unique_ptr<Ops> CreateReferenceOps() { return std::make_unique<ReferenceOps>(); }

}  // namespace longhand::kernels
