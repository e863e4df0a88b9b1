// Norms, activations, rotation, embedding and patches.
#include <numeric>
#include <random>

#include "bench/kernel_cases.h"

namespace longhand::bench {
namespace {

constexpr DType kBf16 = DType::kBf16, kF32 = DType::kF32;
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

// A step's tokens, of a table of 7B.
void Embedding(CaseTimer& timer, int64_t rows) {
  kernels::Ops& ops = timer.ops();
  const int64_t vocab_size = timer.Small(152064, 500), width = 3584;
  const Work work{.op = "Embedding",
                  .name = std::to_string(rows) + " x " + std::to_string(width),
                  .bytes = 4.0 * static_cast<double>(rows * width)};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    std::vector<int32_t> ids(static_cast<size_t>(rows));
    std::mt19937 draw(7);
    for (int32_t& id : ids) id = static_cast<int32_t>(draw() % static_cast<uint32_t>(vocab_size));
    kernels::EmbeddingArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.ids, tensors.Of(ids, {rows}));
    LONGHAND_ASSIGN_OR_RETURN(args.table, tensors.Random(kBf16, {vocab_size, width}));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {rows, width}));
    return Enqueue([&ops, args] { return ops.Embedding(args); });
  });
}

// A square picture: its bytes are read, and rows of bf16 written, each pixel twice.
void Patchify(CaseTimer& timer, int64_t side) {
  kernels::Ops& ops = timer.ops();
  const int64_t patches = side / 14 * (side / 14);
  const Work work{.op = "Patchify",
                  .name = std::to_string(side) + " x " + std::to_string(side) + " pixels",
                  .bytes = static_cast<double>(side * side * 3 * (1 + 2 * 2))};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::PatchifyArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.pixels, tensors.Zeros(DType::kU8, {side, side, 3}));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {patches, 3 * 2 * 14 * 14}));
    return Enqueue([&ops, args] { return ops.Patchify(args); });
  });
}

}  // namespace

void SmallCases(CaseTimer& timer) {
  for (const int64_t rows : {1, 64, 2048}) {
    RmsNorm(timer, timer.Small(rows, 2), 3584);
    SwiGlu(timer, timer.Small(rows, 2), 18944);
    QuantizeRows(timer, timer.Small(rows, 2), 3584);
    Rope(timer, timer.Small(rows, 2), 28, 4);
    Embedding(timer, timer.Small(rows, 2));
  }
  for (const int64_t side : {252, 1008, 3584}) Patchify(timer, timer.Small(side, 56));
}

}  // namespace longhand::bench
