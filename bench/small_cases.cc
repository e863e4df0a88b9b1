// Norms, activations, rotation and sampling.
#include <numeric>

#include "bench/kernel_cases.h"

namespace longhand::bench {
namespace {

constexpr DType kBf16 = DType::kBf16, kF32 = DType::kF32, kI32 = DType::kI32;
constexpr int64_t kHeadDim = 128;

void RmsNorm(CaseTimer& timer, int64_t rows, int64_t width) {
  kernels::Ops& ops = timer.ops();
  Work work{.op = "RmsNorm",
            .name = std::to_string(rows) + " x " + std::to_string(width) + ", residual",
            .bytes = 8.0 * static_cast<double>(rows * width),
            .shape = Members({{"rows", rows}, {"width", width}})};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::RmsNormArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.x, tensors.Random(kBf16, {rows, width}));
    LONGHAND_ASSIGN_OR_RETURN(args.residual, tensors.Random(kBf16, {rows, width}));
    LONGHAND_ASSIGN_OR_RETURN(args.weight, tensors.Random(kF32, {width}));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {rows, width}));
    return Enqueue([&ops, args] { return ops.RmsNorm(args); });
  });
}

void SwiGlu(CaseTimer& timer, int64_t rows, int64_t width) {
  kernels::Ops& ops = timer.ops();
  Work work{.op = "SwiGlu",
            .name = std::to_string(rows) + " x " + std::to_string(width),
            .bytes = 6.0 * static_cast<double>(rows * width),
            .shape = Members({{"rows", rows}, {"width", width}})};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::SwiGluArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.gate_up, tensors.Random(kBf16, {rows, 2 * width}));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {rows, width}));
    return Enqueue([&ops, args] { return ops.SwiGlu(args); });
  });
}

void Rope(CaseTimer& timer, int64_t rows, int64_t heads, int64_t kv_heads) {
  kernels::Ops& ops = timer.ops();
  const int64_t width = (heads + 2 * kv_heads) * kHeadDim;
  Work work{.op = "QkvRopeWrite",
            .name = std::to_string(rows) + " tokens, " + std::to_string(heads) + "/" +
                    std::to_string(kv_heads) + " heads",
            .bytes = 4.0 * static_cast<double>(rows * width),
            .shape = Members({{"rows", rows}, {"heads", heads}, {"kv_heads", kv_heads}})};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    const int64_t blocks = (rows + 15) / 16;
    std::vector<int64_t> slots(static_cast<size_t>(rows));
    std::iota(slots.begin(), slots.end(), 0);
    kernels::QkvRopeWriteArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.qkv, tensors.Random(kBf16, {rows, width}));
    LONGHAND_ASSIGN_OR_RETURN(args.bias, tensors.Random(kF32, {width}));
    LONGHAND_ASSIGN_OR_RETURN(args.cos, tensors.Random(kF32, {rows, kHeadDim / 2}));
    LONGHAND_ASSIGN_OR_RETURN(args.sin, tensors.Random(kF32, {rows, kHeadDim / 2}));
    LONGHAND_ASSIGN_OR_RETURN(args.slot_mapping, tensors.Of(slots, {rows}));
    LONGHAND_ASSIGN_OR_RETURN(args.query, tensors.Zeros(kBf16, {rows, heads, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.kv_cache,
                              tensors.Zeros(kBf16, {2, blocks, 16, kv_heads, kHeadDim}));
    return Enqueue([&ops, args] { return ops.QkvRopeWrite(args); });
  });
}

// Rows for an fp8 weight.
void QuantizeRows(CaseTimer& timer, int64_t rows, int64_t width) {
  kernels::Ops& ops = timer.ops();
  const DType to = ops.RoundedDType(kBf16);
  const Work work{
      .op = "QuantizeRows",
      .name = std::to_string(rows) + " x " + std::to_string(width),
      .bytes = static_cast<double>(rows * width) * static_cast<double>(2 + DTypeSize(to)),
      .shape = Members({{"rows", rows}, {"width", width}})};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::QuantizeRowsArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.x, tensors.Random(kBf16, {rows, width}));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(to, {rows, width}));
    LONGHAND_ASSIGN_OR_RETURN(args.scale, tensors.Zeros(kF32, {rows}));
    return Enqueue([&ops, args] { return ops.QuantizeRows(args); });
  });
}

void SampleRows(CaseTimer& timer,
                const char* what,
                const SamplingParams& params,
                int64_t num_rows,
                float deviation) {
  kernels::Ops& ops = timer.ops();
  const int64_t vocab_size = timer.Small(152064, 500);
  std::vector<kernels::SampleRow> rows(static_cast<size_t>(num_rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].params = &params;
    rows[i].key = {.seed = 12345, .position = static_cast<uint32_t>(i)};
  }
  Work work{.op = "Sample",
            .name = std::to_string(num_rows) + " x " + std::to_string(vocab_size) + ", " + what,
            .bytes = 4.0 * static_cast<double>(num_rows * vocab_size)};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::SampleArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.logits, tensors.Random(kF32, {num_rows, vocab_size}, deviation));
    LONGHAND_ASSIGN_OR_RETURN(args.token_ids, tensors.Zeros(kI32, {num_rows}));
    // As in a step: rows are staged beside the device's work. Without stages (a CPU) they go along.
    const Status staged = ops.StageSampleRows(rows, vocab_size);
    if (!staged.ok() && staged.code() != StatusCode::kUnimplemented) return staged;
    if (!staged.ok()) args.rows = &rows;
    return Enqueue([&ops, args] { return ops.Sample(args); });
  });
}

}  // namespace

void SmallCases(CaseTimer& timer) {
  for (const int64_t rows : {1, 64, 2048}) {
    RmsNorm(timer, timer.Small(rows, 2), 3584);
    SwiGlu(timer, timer.Small(rows, 2), 18944);
    QuantizeRows(timer, timer.Small(rows, 2), 3584);
    Rope(timer, timer.Small(rows, 2), 28, 4);
  }
}

void SampleCases(CaseTimer& timer) {
  SamplingParams greedy, nucleus, top_k;
  greedy.temperature = 0;
  nucleus.temperature = 0.6f;
  nucleus.top_p = 0.95f;
  top_k = nucleus;
  top_k.top_k = 40;
  for (const int64_t rows : {1, 16, 64}) {
    SampleRows(timer, "greedy", greedy, timer.Small(rows, 2), 1.0f);
    SampleRows(timer, "temperature 0.6, top_p 0.95, peaked", nucleus, timer.Small(rows, 2), 4.0f);
    SampleRows(timer, "temperature 0.6, top_p 0.95, flat", nucleus, timer.Small(rows, 2), 1.0f);
    SampleRows(timer, "temperature 0.6, top_k 40, top_p 0.95", top_k, timer.Small(rows, 2), 1.0f);
  }
}

}  // namespace longhand::bench
