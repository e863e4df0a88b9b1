// Record and Replay: what is replayed reads what its tensors hold then, and has the bits of the
// same calls made then.
#include "tests/conformance/cases.h"
#include "tests/conformance/paged_batch.h"
#include "tests/conformance/sampling_rows.h"

namespace longhand::conformance {
namespace {

Status Write(Device& device, const TensorView& tensor, const HostTensor& value) {
  LONGHAND_RETURN_IF_ERROR(
      device.ops().CopyToDevice(tensor.data(), value.bytes.data(), value.bytes.size()));
  return device.ops().Synchronize();
}

// Runs `enqueue` as it is, so that workspaces are there, records it, and calls `change` between
// that and a replay.
template <typename Enqueue, typename Change>
Status RunReplayed(Device& device, Enqueue&& enqueue, Change&& change) {
  kernels::Ops& ops = device.ops();
  if (!ops.CanRecord()) return Unimplemented("operations are not recorded");
  LONGHAND_RETURN_IF_ERROR(enqueue());
  LONGHAND_RETURN_IF_ERROR(ops.Synchronize());
  LONGHAND_ASSIGN_OR_RETURN(const auto recording, ops.Record(enqueue));
  LONGHAND_RETURN_IF_ERROR(change());
  LONGHAND_RETURN_IF_ERROR(ops.Replay(*recording));
  return ops.Synchronize();
}

struct Mlp {
  kernels::RmsNormArgs norm;
  kernels::LinearArgs up;
  kernels::SwiGluArgs gate;
  TensorView x;
};

Result<Mlp> MakeMlp(Device& device, const HostTensor& x) {
  Rng rng(/*seed=*/82);
  constexpr int64_t kHidden = 128, kFfn = 96;
  const int64_t rows = x.shape[0];
  Mlp mlp;
  mlp.x = device.InOut(x);
  mlp.norm = {.x = mlp.x,
              .weight = device.In(rng.Normal({kHidden}, DType::kF32)),
              .out = device.Out(DType::kBf16, {rows, kHidden})};
  mlp.up.x = mlp.norm.out;
  LONGHAND_ASSIGN_OR_RETURN(mlp.up.weight,
                            device.Pack(rng.Normal({2 * kFfn, kHidden}, DType::kBf16)));
  mlp.up.out = device.Out(DType::kBf16, {rows, 2 * kFfn});
  mlp.gate = {.gate_up = mlp.up.out, .out = device.Out(DType::kBf16, {rows, kFfn})};
  return mlp;
}

Status Enqueue(kernels::Ops& ops, const Mlp& mlp) {
  LONGHAND_RETURN_IF_ERROR(ops.RmsNorm(mlp.norm));
  LONGHAND_RETURN_IF_ERROR(ops.Linear(mlp.up));
  return ops.SwiGlu(mlp.gate);
}

HostTensor MlpInput(int64_t rows, int seed) { return Rng(seed).Normal({rows, 128}, DType::kBf16); }

Result<Outputs> RunMlp(Device& device, int64_t rows) {
  LONGHAND_ASSIGN_OR_RETURN(const Mlp mlp, MakeMlp(device, MlpInput(rows, 84)));
  LONGHAND_RETURN_IF_ERROR(Enqueue(device.ops(), mlp));
  return Outputs{device.Read(mlp.gate.out)};
}

Result<Outputs> ReplayMlp(Device& device, int64_t rows) {
  LONGHAND_ASSIGN_OR_RETURN(const Mlp mlp, MakeMlp(device, MlpInput(rows, 83)));
  LONGHAND_RETURN_IF_ERROR(RunReplayed(
      device, [&] { return Enqueue(device.ops(), mlp); },
      [&] { return Write(device, mlp.x, MlpInput(rows, 84)); }));
  return Outputs{device.Read(mlp.gate.out)};
}

// Recorded with contexts of one token.
Result<Outputs> ReplayAttention(Device& device, const BatchShape& shape) {
  const kernels::PagedAttentionArgs args = MakeBatch(device, shape);
  const HostTensor context_len = device.Read(args.context_len);
  LONGHAND_RETURN_IF_ERROR(
      Write(device, args.context_len, Int32(std::vector<int64_t>(shape.context_lens.size(), 1))));
  LONGHAND_RETURN_IF_ERROR(RunReplayed(
      device, [&] { return device.ops().PagedAttention(args); },
      [&] { return Write(device, args.context_len, context_len); }));
  return Outputs{device.Read(args.out)};
}

constexpr int64_t kSampledRows = 5, kVocabSize = 1000;

const SamplingRows& RowsToRecord() {
  static const SamplingRows* const kRows =
      new SamplingRows(kSampledRows, kVocabSize, SamplingParams{.temperature = 0});
  return *kRows;
}
const SamplingRows& RowsToReplay() {
  static const SamplingRows* const kRows = new SamplingRows(
      kSampledRows, kVocabSize,
      SamplingParams{.temperature = 0.8f, .top_p = 0.95f, .repetition_penalty = 1.2f},
      MakeMask(kVocabSize, [](int64_t id) { return id % 3 == 0; }),
      MakeBiases(kVocabSize, kMaxTokenBiases));
  return *kRows;
}

kernels::SampleArgs MakeSample(Device& device) {
  Rng rng(/*seed=*/85);
  return {.logits = device.In(rng.Normal({kSampledRows, kVocabSize}, DType::kF32, 3.0)),
          .token_ids = device.Out(DType::kI32, {kSampledRows}),
          .history = device.InOut(RowsToReplay().history())};
}

Result<Outputs> RunSample(Device& device) {
  kernels::SampleArgs args = MakeSample(device);
  args.rows = &RowsToReplay().rows();
  LONGHAND_RETURN_IF_ERROR(device.ops().Sample(args));
  return Outputs{device.Read(args.token_ids), device.Read(args.history)};
}

Result<Outputs> ReplaySample(Device& device) {
  const kernels::SampleArgs args = MakeSample(device);
  kernels::Ops& ops = device.ops();
  const auto stage = [&](const SamplingRows& rows) {
    return ops.StageSampleRows(rows.rows(), kVocabSize);
  };
  // Rows with penalties need more room, which recordings would not let them take.
  LONGHAND_RETURN_IF_ERROR(
      ops.Reserve({.max_num_seqs = kSampledRows, .max_model_len = 64, .vocab_size = kVocabSize}));
  LONGHAND_RETURN_IF_ERROR(stage(RowsToRecord()));
  LONGHAND_RETURN_IF_ERROR(
      RunReplayed(device, [&] { return ops.Sample(args); }, [&] { return stage(RowsToReplay()); }));
  return Outputs{device.Read(args.token_ids), device.Read(args.history)};
}

// What may not be recorded is refused, and operations go on afterwards.
Result<Outputs> RunAfterARefusal(Device& device) {
  LONGHAND_ASSIGN_OR_RETURN(const Mlp mlp, MakeMlp(device, MlpInput(3, 84)));
  kernels::Ops& ops = device.ops();
  if (!ops.CanRecord()) return Unimplemented("operations are not recorded");
  const auto recording = ops.Record([&] {
    LONGHAND_RETURN_IF_ERROR(Enqueue(ops, mlp));
    return ops.Synchronize();
  });
  if (recording.ok()) return Internal("a Synchronize was recorded");
  LONGHAND_RETURN_IF_ERROR(Enqueue(ops, mlp));
  return Outputs{device.Read(mlp.gate.out)};
}

}  // namespace

void AddReplayCases(std::vector<Case>& cases) {
  for (const int64_t rows : {1, 5, 70}) {
    cases.push_back({.op = "Replay",
                     .name = "norm, product and SwiGLU of " + std::to_string(rows) + " rows",
                     .body = [=](Device& device) { return ReplayMlp(device, rows); },
                     .same_bits = [=](Device& device) { return RunMlp(device, rows); }});
  }
  BatchShape shape{8, 2, 64, 16, DType::kBf16, DType::kBf16};
  shape.query_lens = {1, 1, 1, 1};
  shape.context_lens = {1, 700, 65, 300};
  cases.push_back({.op = "Replay",
                   .name = "attention over contexts that have grown",
                   .body = [=](Device& device) { return ReplayAttention(device, shape); },
                   .same_bits = [=](Device& device) { return RunBatch(device, shape); }});
  cases.push_back({.op = "Replay",
                   .name = "sampling of rows that were staged since",
                   .body = ReplaySample,
                   .same_bits = RunSample});
  cases.push_back({.op = "Replay",
                   .name = "a recording that was refused",
                   .body = RunAfterARefusal,
                   .same_bits = [](Device& device) { return RunMlp(device, 3); }});
}

}  // namespace longhand::conformance
