#include <iterator>
#include <string>
#include <utility>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/row_scale.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// The name in full: nvcc must not take the device's own namespace for the base class.
class DeviceOps final : public ::longhand::kernels::CudaOps {
 public:
  DeviceOps(std::string_view name, Stream stream, void (*close)(Stream&))
      : name_(name), close_(close) {
    context_.stream = stream;
  }
  ~DeviceOps() override {
    (void)Synchronize();
    FreeRetiredPeerMemory();
    close_(context_.stream);
  }

  std::string_view name() const override { return name_; }
  DType ActivationDType(DType model_dtype) const override { return model_dtype; }
  DType RoundedDType(DType activation) const override {
    const bool codes = activation == DType::kBf16 && MultipliesFp8(context_.stream);
    return codes ? DType::kF8E4M3 : activation;
  }
  bool HasKvDType(DType kv) const override {
    return kv == DType::kF32 || kv == DType::kBf16 || HasKvScales(kv);
  }
  Status SetDeterministic(bool deterministic) override {
    if (deterministic == (context_.large.products == nullptr)) return OkStatus();
    LONGHAND_RETURN_IF_ERROR(Synchronize());
    context_.large = {};
    if (deterministic) return OkStatus();
    LONGHAND_ASSIGN_OR_RETURN(context_.large.products, OpenLargeProducts());
    return OkStatus();
  }
  void* stream() const override {
#if defined(__CUDACC__)
    return context_.stream.handle;
#else
    return nullptr;
#endif
  }

  Result<std::unique_ptr<Buffer>> Allocate(size_t bytes) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("an allocation"));
    return AllocateMemory(context_.stream, bytes);
  }
  Result<std::unique_ptr<Buffer>> AllocateStaging(size_t bytes) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("an allocation"));
    return LONGHAND_DEVICE::AllocateStaging(context_.stream, bytes);
  }
  int64_t num_replays() const override { return num_replays_; }
  int64_t num_launches() const override { return context_.stream.num_launches; }
  int64_t num_allocations() const override { return context_.stream.num_allocations; }
  std::string TrialResults() const override {
    if (!context_.stream.may_have_wgmma) return {};
    const LinearState& linear = context_.linear;
    const AttentionState& attention = context_.attention_state;
    std::string uses;
    for (const auto& [use, name] :
         {std::pair{linear.bf16.is_same, "Linear"}, std::pair{linear.fp8.is_same, "Linear in fp8"},
          std::pair{linear.int4.is_same, "Linear in int4"},
          std::pair{attention.decode_has_groups, "decode attention"},
          std::pair{attention.prefill_has_wgmma, "prefill attention"},
          std::pair{attention.vision_has_wgmma, "ViT attention"}}) {
      if (use) uses += (uses.empty() ? "" : ", ") + std::string(name);
    }
    if (uses.empty()) uses = "nothing";
    const std::string& decode = attention.decode_choice;
    return "wgmma has mma.sync's bits in: " + uses + (decode.empty() ? "" : "; " + decode);
  }
  ByteCount device_memory() const override { return context_.stream.device_memory; }
  ByteCount staging_memory() const override { return context_.stream.staging_memory; }
  Status Reserve(const StepSizes& sizes) override {
    const auto take = [&](Workspace& workspace, int64_t bytes) {
      return workspace.Take(context_.stream, static_cast<size_t>(bytes)).status();
    };
    LONGHAND_RETURN_IF_ERROR(take(context_.attention, AttentionWorkspaceBytes(sizes)));
    LONGHAND_RETURN_IF_ERROR(take(context_.attention_arrived, ArrivedBytes(sizes)));
    LONGHAND_RETURN_IF_ERROR(take(context_.sample_rows, SampleRowsBytes(sizes)));
    LONGHAND_RETURN_IF_ERROR(take(context_.edited_logits, VocabularyBytes(sizes)));
    LONGHAND_RETURN_IF_ERROR(take(context_.sample_lists, VocabularyBytes(sizes)));
    LONGHAND_RETURN_IF_ERROR(take(context_.sample_states, SampleStatesBytes(sizes.max_num_seqs)));
    LONGHAND_RETURN_IF_ERROR(ReserveLarge(context_, sizes));
    LONGHAND_RETURN_IF_ERROR(PrepareAttention(context_));
    for (RowStaging& staging : context_.staging) {
      LONGHAND_RETURN_IF_ERROR(GrowStaging(context_.stream, staging, SampleRowsBytes(sizes)));
    }
    return OkStatus();
  }
  OpsMemory ReservedMemory(const StepSizes& sizes) const override {
    return {.device_bytes = AttentionWorkspaceBytes(sizes) + ArrivedBytes(sizes) +
                            SampleRowsBytes(sizes) + 2 * VocabularyBytes(sizes) +
                            SampleStatesBytes(sizes.max_num_seqs) +
                            LinearBytes(context_.stream, sizes) + LargeBytes(context_, sizes),
            .staging_bytes =
                static_cast<int64_t>(std::size(context_.staging)) * SampleRowsBytes(sizes)};
  }
  int64_t PackedBytes(const WeightShape& shape) const override {
    return LONGHAND_DEVICE::PackedBytes(context_.stream, shape);
  }
  int64_t LibraryBytes() const override { return LONGHAND_DEVICE::LibraryBytes(); }
  Status CopyToDevice(void* device, const void* host, size_t bytes) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("a copy"));
    return LONGHAND_DEVICE::CopyToDevice(context_.stream, device, host, bytes);
  }
  Status CopyToHost(void* host, const void* device, size_t bytes) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("a copy"));
    return LONGHAND_DEVICE::CopyToHost(context_.stream, host, device, bytes);
  }
  Status Synchronize() override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("a Synchronize"));
    return WaitFor(context_.stream);
  }
  bool RunsApart() const override { return LONGHAND_DEVICE::RunsApart(context_.stream); }
  Result<std::unique_ptr<Event>> CreateEvent() override {
    return LONGHAND_DEVICE::CreateEvent(context_.stream);
  }
  Status SetEvent(Event& event) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("an event"));
    return LONGHAND_DEVICE::SetEvent(context_.stream, event);
  }
  Result<bool> Reached(const Event& event) override {
    return LONGHAND_DEVICE::Reached(context_.stream, event);
  }

  PeerGroup MakePeerGroup() const override { return LONGHAND_DEVICE::MakePeerGroup(); }
  bool IsTimed() const override { return LONGHAND_DEVICE::IsTimed(); }
  Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(size_t bytes) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("an allocation"));
    return LONGHAND_DEVICE::AllocatePeerMemory(context_.stream, bytes);
  }
  Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle) override {
    return LONGHAND_DEVICE::OpenPeerMemory(handle);
  }
  Result<std::shared_ptr<PeerControl>> AllocatePeerControl() override {
    LONGHAND_ASSIGN_OR_RETURN(std::shared_ptr<Buffer> buffer, AllocateStaging(sizeof(PeerControl)));
    auto* control = static_cast<PeerControl*>(buffer->data());
    return std::shared_ptr<PeerControl>(std::move(buffer), control);
  }
  Status DrainPeerCalls() override { return WaitFor(context_.stream); }
  Status PeerReduce(const PeerReduceArgs& args) override {
    return LONGHAND_DEVICE::PeerReduce(context_, args);
  }
  Status NormSum(const PeerReduceArgs& args) override {
    return RmsNorm({.x = args.data,
                    .residual = args.residual,
                    .weight = args.weight,
                    .eps = args.eps,
                    .out = args.out,
                    .scale = args.scale});
  }
  Status PeerGather(const PeerGatherArgs& args) override {
    return LONGHAND_DEVICE::PeerGather(context_, args);
  }

  bool CanRecord() const override { return true; }
  Result<std::unique_ptr<Recording>> Record(const std::function<Status()>& enqueue) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("a recording"));
    Stream& stream = context_.stream;
    LONGHAND_RETURN_IF_ERROR(BeginRecording(stream));
    stream.recording = true;
    const Status status = enqueue();
    stream.recording = false;
    auto recording = EndRecording(stream);
    LONGHAND_RETURN_IF_ERROR(status);
    return recording;
  }
  Status Replay(const Recording& recording) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("a replay"));
    ++num_replays_;
    return LONGHAND_DEVICE::Replay(context_.stream, recording);
  }

 private:
  Status CheckNotRecording(const char* what) const {
    if (!context_.stream.recording) return OkStatus();
    return Internal(what, " came up while operations were recorded");
  }
  static int64_t ArrivedBytes(const StepSizes& sizes) {
    return AttentionArrivedBytes(sizes.max_num_seqs, sizes.num_kv_heads);
  }
  // Logits of rows with penalties, and lists of ids, each: of all rows, at most.
  static int64_t VocabularyBytes(const StepSizes& sizes) {
    return sizes.max_num_seqs * sizes.vocab_size * static_cast<int64_t>(sizeof(float));
  }

  Result<std::unique_ptr<PackedLinear>> DoPackLinear(TensorView weight,
                                                     LinearLayout layout) override {
    return LONGHAND_DEVICE::PackLinear(context_, weight, layout);
  }
  Result<std::unique_ptr<PackedLinear>> DoPackQuantized(const QuantizedWeight& weight,
                                                        LinearLayout layout) override {
    return LONGHAND_DEVICE::PackQuantized(context_, weight, layout);
  }
  Status DoQuantizeRows(const QuantizeRowsArgs& args) override {
    return LONGHAND_DEVICE::QuantizeRows(context_, args);
  }
  Status DoLinear(const LinearArgs& args) override {
    return LONGHAND_DEVICE::Linear(context_, args);
  }
  Status DoLora(const LoraArgs& args) override { return LONGHAND_DEVICE::Lora(context_, args); }
  Status DoEmbedding(const EmbeddingArgs& args) override {
    return LONGHAND_DEVICE::Embedding(context_, args);
  }
  Status DoRmsNorm(const RmsNormArgs& args) override {
    return LONGHAND_DEVICE::RmsNorm(context_, args);
  }
  Status DoRoundedRmsNorm(const RmsNormArgs& args) override {
    return LONGHAND_DEVICE::RmsNorm(context_, args);
  }
  Status DoAdd(const AddArgs& args) override { return LONGHAND_DEVICE::Add(context_, args); }
  Status DoMropeTable(const MropeTableArgs& args) override {
    return LONGHAND_DEVICE::MropeTable(context_, args);
  }
  Status DoQkvRopeWrite(const QkvRopeWriteArgs& args) override {
    return LONGHAND_DEVICE::QkvRopeWrite(context_, args);
  }
  Status DoPagedAttention(const PagedAttentionArgs& args) override {
    return LONGHAND_DEVICE::PagedAttention(context_, args);
  }
  Status DoCopyBlocks(const CopyBlocksArgs& args) override {
    return LONGHAND_DEVICE::CopyBlocks(context_, args);
  }
  Status DoSwiGlu(const SwiGluArgs& args) override {
    return LONGHAND_DEVICE::SwiGlu(context_, args);
  }
  Status DoGelu(const GeluArgs& args) override { return LONGHAND_DEVICE::Gelu(context_, args); }
  Status DoGatherRows(const GatherRowsArgs& args) override {
    return LONGHAND_DEVICE::GatherRows(context_, args);
  }
  Status DoScatterRows(const ScatterRowsArgs& args) override {
    return LONGHAND_DEVICE::ScatterRows(context_, args);
  }
  Status DoPatchify(const PatchifyArgs& args) override {
    return LONGHAND_DEVICE::Patchify(context_, args);
  }
  Status DoVisionRope(const VisionRopeArgs& args) override {
    return LONGHAND_DEVICE::VisionRope(context_, args);
  }
  Status DoVisionAttention(const VisionAttentionArgs& args) override {
    return LONGHAND_DEVICE::VisionAttention(context_, args);
  }
  Status DoSample(const SampleArgs& args) override {
    return LONGHAND_DEVICE::Sample(context_, args);
  }
  Status DoStageSampleRows(const std::vector<SampleRow>& rows, int64_t vocab_size) override {
    LONGHAND_RETURN_IF_ERROR(CheckNotRecording("staging"));
    return LONGHAND_DEVICE::StageSampleRows(context_, rows, vocab_size);
  }
  Status DoShardLikeliest(const ShardLikeliestArgs& args) override {
    return LONGHAND_DEVICE::ShardLikeliest(context_, args);
  }
  Status DoShardCandidates(const ShardCandidatesArgs& args) override {
    return LONGHAND_DEVICE::ShardCandidates(context_, args);
  }
  Status DoJoinShards(const JoinShardsArgs& args) override {
    return LONGHAND_DEVICE::JoinShards(context_, args);
  }
  Status DoLogprobs(const LogprobsArgs& args) override {
    return LONGHAND_DEVICE::Logprobs(context_, args);
  }

  std::string name_;
  Context context_;
  int64_t num_replays_ = 0;
  void (*close_)(Stream&);
};

}  // namespace

Result<void*> Workspace::Take(const Stream& stream, size_t bytes) {
  if (buffer_ == nullptr || buffer_->size_bytes() < bytes) {
    if (stream.recording || stream.num_recordings > 0) {
      return Internal("a workspace that recorded operations use would grow from ",
                      buffer_ == nullptr ? 0 : buffer_->size_bytes(), " to ", bytes,
                      " bytes; Reserve must be told what is to come");
    }
    LONGHAND_RETURN_IF_ERROR(WaitFor(stream));
    buffer_.reset();
    LONGHAND_ASSIGN_OR_RETURN(buffer_, AllocateMemory(stream, bytes));
  }
  return buffer_->data();
}

Status GrowStaging(const Stream& stream, RowStaging& staging, int64_t bytes) {
  if (staging.copied == nullptr) {
    LONGHAND_ASSIGN_OR_RETURN(staging.copied, CreateEvent(stream));
  }
  if (staging.memory != nullptr && static_cast<int64_t>(staging.memory->size_bytes()) >= bytes) {
    return OkStatus();
  }
  staging.memory.reset();
  LONGHAND_ASSIGN_OR_RETURN(staging.memory, AllocateStaging(stream, static_cast<size_t>(bytes)));
  return OkStatus();
}

std::unique_ptr<CudaOps> MakeOps(std::string_view name, Stream stream, void (*close)(Stream&)) {
  return std::make_unique<DeviceOps>(name, stream, close);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
