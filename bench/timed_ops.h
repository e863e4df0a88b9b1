// TimedOps: passes operations on, and asks the device when it came to each.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/device_clock.h"
#include "kernels/ops.h"

namespace longhand::bench {

class TimedOps final : public kernels::Ops {
 public:
  enum class Mode {
    kOff,   // only passes on
    kSpan,  // from the first operation of a step to the last
    kEach,  // every operation
  };
  struct Total {
    int64_t calls = 0;
    double us = 0;
  };

  TimedOps(kernels::Ops& inner, DeviceClock& clock) : inner_(inner), clock_(clock) {}

  // From here on operations belong to one step, which ends with the first Synchronize() or
  // CopyToHost(). But with kOff, the device is held for `hold_ms` before the first operation: what
  // follows waits for nothing but the device.
  void BeginStep(Mode mode, double hold_ms) {
    mode_ = mode;
    hold_ms_ = hold_ms;
    names_.clear();
    begun_ = ended_ = false;
  }
  // From here on, until Gaps(), steps that run ahead are marked where the device begins one, with
  // its first copy, and where it has done with it.
  void MarkGaps() {
    BeginStep(Mode::kOff, 0);
    marks_gaps_ = true;
    num_gap_marks_ = 0;
  }
  // After the last of them: how long the device had nothing to do between each and the next.
  std::vector<double> GapMicroseconds() {
    marks_gaps_ = false;
    std::vector<double> gaps;
    for (size_t i = 1; i + 1 < num_gap_marks_; i += 2) {
      gaps.push_back(clock_.Microseconds(i, i + 1));
    }
    return gaps;
  }
  // After the step.
  double SpanMicroseconds() { return begun_ ? clock_.Microseconds(0, LastMark()) : 0; }
  void AddTo(std::map<std::string, Total>* totals) {
    for (size_t i = 0; i < names_.size() && mode_ == Mode::kEach; ++i) {
      Total& total = (*totals)[names_[i]];
      ++total.calls;
      total.us += clock_.Microseconds(i, i + 1);
    }
  }

  std::string_view name() const override { return inner_.name(); }
  DType ActivationDType(DType model_dtype) const override {
    return inner_.ActivationDType(model_dtype);
  }
  DType RoundedDType(DType activation) const override { return inner_.RoundedDType(activation); }
  bool HasKvDType(DType kv) const override { return inner_.HasKvDType(kv); }
  Status SetDeterministic(bool deterministic) override {
    return inner_.SetDeterministic(deterministic);
  }
  Result<std::unique_ptr<kernels::Buffer>> Allocate(size_t bytes) override {
    return inner_.Allocate(bytes);
  }
  Result<std::unique_ptr<kernels::Buffer>> AllocateStaging(size_t bytes) override {
    return inner_.AllocateStaging(bytes);
  }
  Status Reserve(const kernels::StepSizes& sizes) override { return inner_.Reserve(sizes); }
  kernels::OpsMemory ReservedMemory(const kernels::StepSizes& sizes) const override {
    return inner_.ReservedMemory(sizes);
  }
  int64_t PackedBytes(const kernels::WeightShape& shape) const override {
    return inner_.PackedBytes(shape);
  }
  int64_t LibraryBytes() const override { return inner_.LibraryBytes(); }
  std::string TrialResults() const override { return inner_.TrialResults(); }
  Status CopyToDevice(void* device, const void* host, size_t bytes) override {
    if (num_gap_marks_ % 2 == 0) MarkGap();
    return inner_.CopyToDevice(device, host, bytes);
  }
  bool CanRecord() const override { return inner_.CanRecord(); }
  // What is recorded is timed as a whole, when it is replayed.
  Result<std::unique_ptr<kernels::Recording>> Record(
      const std::function<Status()>& enqueue) override {
    recording_ = true;
    auto recording = inner_.Record(enqueue);
    recording_ = false;
    return recording;
  }
  Status Replay(const kernels::Recording& recording) override {
    if (mode_ == Mode::kOff || ended_) return inner_.Replay(recording);
    return PassTimed("Replay", [&] { return inner_.Replay(recording); });
  }
  Status CopyToHost(void* host, const void* device, size_t bytes) override {
    EndStep();
    return inner_.CopyToHost(host, device, bytes);
  }
  Status Synchronize() override {
    EndStep();
    return inner_.Synchronize();
  }
  bool RunsApart() const override { return inner_.RunsApart(); }
  Result<std::unique_ptr<kernels::Event>> CreateEvent() override { return inner_.CreateEvent(); }
  Status SetEvent(kernels::Event& event) override {
    if (num_gap_marks_ % 2 == 1) MarkGap();
    return inner_.SetEvent(event);
  }
  Result<bool> Reached(const kernels::Event& event) override { return inner_.Reached(event); }

 private:
  void MarkGap() {
    if (marks_gaps_ && num_gap_marks_ < DeviceClock::kMaxMarks) clock_.Mark(num_gap_marks_++);
  }
  size_t LastMark() const { return mode_ == Mode::kEach ? names_.size() : 1; }
  void EndStep() {
    if (begun_ && !ended_ && mode_ == Mode::kSpan) clock_.Mark(1);
    ended_ = ended_ || begun_;
  }

  template <typename Args>
  Status Pass(const char* name, Status (kernels::Ops::*operation)(const Args&), const Args& args) {
    if (mode_ == Mode::kOff || ended_ || recording_) return (inner_.*operation)(args);
    return PassTimed(name, [&] { return (inner_.*operation)(args); });
  }
  template <typename Call>
  Status PassTimed(std::string name, const Call& call) {
    if (!begun_) {
      clock_.Hold(hold_ms_);
      clock_.Mark(0);
      begun_ = true;
    }
    LONGHAND_RETURN_IF_ERROR(call());
    if (mode_ == Mode::kEach && names_.size() + 1 < DeviceClock::kMaxMarks) {
      names_.push_back(std::move(name));
      clock_.Mark(names_.size());
    }
    return OkStatus();
  }

  Result<std::unique_ptr<kernels::PackedLinear>> DoPackLinear(
      TensorView weight, kernels::LinearLayout layout) override {
    return inner_.PackLinear(weight, layout);
  }
  Result<std::unique_ptr<kernels::PackedLinear>> DoPackQuantized(
      const kernels::QuantizedWeight& weight, kernels::LinearLayout layout) override {
    return inner_.PackQuantized(weight, layout);
  }
  Status DoLora(const kernels::LoraArgs& args) override {
    return Timed("Lora", [&] { return inner_.Lora(args); });
  }
  Status DoQuantizeRows(const kernels::QuantizeRowsArgs& args) override {
    return Pass("QuantizeRows", &Ops::QuantizeRows, args);
  }
  Status DoLinear(const kernels::LinearArgs& args) override {
    if (mode_ == Mode::kOff || ended_ || recording_) return inner_.Linear(args);
    return PassTimed("Linear " + std::to_string(args.weight->out_features()) + "x" +
                         std::to_string(args.weight->in_features()),
                     [&] { return inner_.Linear(args); });
  }
  Status DoEmbedding(const kernels::EmbeddingArgs& args) override {
    return Pass("Embedding", &Ops::Embedding, args);
  }
  Status DoRmsNorm(const kernels::RmsNormArgs& args) override {
    return Pass("RmsNorm", &Ops::RmsNorm, args);
  }
  Status DoRoundedRmsNorm(const kernels::RmsNormArgs& args) override {
    return Pass("RmsNorm", &Ops::RmsNorm, args);
  }
  Status DoAdd(const kernels::AddArgs& args) override { return Pass("Add", &Ops::Add, args); }
  Status DoMropeTable(const kernels::MropeTableArgs& args) override {
    return Pass("MropeTable", &Ops::MropeTable, args);
  }
  Status DoQkvRopeWrite(const kernels::QkvRopeWriteArgs& args) override {
    return Pass("QkvRopeWrite", &Ops::QkvRopeWrite, args);
  }
  Status DoPagedAttention(const kernels::PagedAttentionArgs& args) override {
    return Pass("PagedAttention", &Ops::PagedAttention, args);
  }
  Status DoCopyBlocks(const kernels::CopyBlocksArgs& args) override {
    return Pass("CopyBlocks", &Ops::CopyBlocks, args);
  }
  Status DoSwiGlu(const kernels::SwiGluArgs& args) override {
    return Pass("SwiGlu", &Ops::SwiGlu, args);
  }
  Status DoGelu(const kernels::GeluArgs& args) override { return Pass("Gelu", &Ops::Gelu, args); }
  Status DoGatherRows(const kernels::GatherRowsArgs& args) override {
    return Pass("GatherRows", &Ops::GatherRows, args);
  }
  Status DoScatterRows(const kernels::ScatterRowsArgs& args) override {
    return Pass("ScatterRows", &Ops::ScatterRows, args);
  }
  Status DoPatchify(const kernels::PatchifyArgs& args) override {
    return Pass("Patchify", &Ops::Patchify, args);
  }
  Status DoVisionRope(const kernels::VisionRopeArgs& args) override {
    return Pass("VisionRope", &Ops::VisionRope, args);
  }
  Status DoVisionAttention(const kernels::VisionAttentionArgs& args) override {
    return Pass("VisionAttention", &Ops::VisionAttention, args);
  }
  Status DoSample(const kernels::SampleArgs& args) override {
    return Pass("Sample", &Ops::Sample, args);
  }
  Status DoStageSampleRows(const std::vector<kernels::SampleRow>& rows,
                           int64_t vocab_size) override {
    return inner_.StageSampleRows(rows, vocab_size);
  }
  Status DoShardLikeliest(const kernels::ShardLikeliestArgs& args) override {
    return Pass("ShardLikeliest", &Ops::ShardLikeliest, args);
  }
  Status DoShardCandidates(const kernels::ShardCandidatesArgs& args) override {
    return Pass("ShardCandidates", &Ops::ShardCandidates, args);
  }
  Status DoJoinShards(const kernels::JoinShardsArgs& args) override {
    return Pass("JoinShards", &Ops::JoinShards, args);
  }
  Status DoLogprobs(const kernels::LogprobsArgs& args) override {
    return Pass("Logprobs", &Ops::Logprobs, args);
  }

  kernels::Ops& inner_;
  DeviceClock& clock_;
  Mode mode_ = Mode::kOff;
  double hold_ms_ = 0;
  bool recording_ = false;
  bool begun_ = false;
  bool ended_ = false;
  bool marks_gaps_ = false;
  size_t num_gap_marks_ = 0;
  std::vector<std::string> names_;  // of the step's operations; operation i ends at mark i + 1
};

}  // namespace longhand::bench
