// Linear at the matrices of 7B and of a 72B rank of 8, from one row to a prefill's.
#include <algorithm>
#include <cstring>
#include <random>

#include "bench/kernel_cases.h"

namespace longhand::bench {
namespace {

using Packed = Result<std::unique_ptr<kernels::PackedLinear>>;

constexpr int64_t kGroupSize = 128;  // of 4 bits

struct Matrix {
  const char* name;
  int64_t in, out;
};
// Of layers, and the head, which stays in bf16.
constexpr Matrix kLayers[] = {{"7B qkv", 3584, 4608},          {"7B o", 3584, 3584},
                              {"7B gate-up", 3584, 37888},     {"7B down", 18944, 3584},
                              {"72B TP8 qkv", 8192, 1280},     {"72B TP8 o", 1024, 8192},
                              {"72B TP8 gate-up", 8192, 7392}, {"72B TP8 down", 3696, 8192}};
constexpr Matrix kHeads[] = {{"7B lm_head", 3584, 152064}, {"72B TP8 lm_head", 8192, 19008}};

// `count` bytes, 16 MB of random ones again and again: a gigabyte takes a minute to draw. Each word
// of two bytes keeps the bits of `free` and has those of `fixed`.
std::vector<uint8_t> RandomBytes(size_t count, uint16_t free, uint16_t fixed) {
  std::vector<uint8_t> bytes(count);
  const size_t pattern = std::min<size_t>(count, (16 << 20) - 6);  // no multiple of a row
  std::mt19937_64 draw(17);
  for (size_t i = 0; i < pattern; i += sizeof(uint16_t)) {
    const auto word = static_cast<uint16_t>((draw() & free) | fixed);
    std::memcpy(&bytes[i], &word, std::min(sizeof(word), pattern - i));
  }
  for (size_t i = pattern; i < count; i += pattern) {
    std::memcpy(&bytes[i], &bytes[0], std::min(pattern, count - i));
  }
  return bytes;
}

// Signs and magnitudes of 0.008 to 0.06.
Packed PackBf16(kernels::Ops& ops, int64_t out, int64_t in) {
  std::vector<uint8_t> weight = RandomBytes(static_cast<size_t>(2 * out * in), 0x81ff, 0x3c00);
  return ops.PackLinear(TensorView(weight.data(), DType::kBf16, {out, in}));
}

Packed PackFp8(kernels::Ops& ops, int64_t out, int64_t in) {
  std::vector<uint8_t> codes = RandomBytes(static_cast<size_t>(out * in), 0x8f8f, 0x3030);
  std::vector<float> scales(static_cast<size_t>(out), 0x1p-6f);
  return ops.PackQuantized({.codes = TensorView(codes.data(), DType::kF8E4M3, {out, in}),
                            .scales = TensorView(scales.data(), DType::kF32, {out}),
                            .zeros = {}});
}

Packed PackInt4(kernels::Ops& ops, int64_t out, int64_t in) {
  const int64_t groups = std::max<int64_t>(1, in / kGroupSize);
  std::vector<uint8_t> codes = RandomBytes(static_cast<size_t>(out * in / 2), 0xffff, 0);
  std::vector<Bf16> scales(static_cast<size_t>(out * groups), Bf16(0x1p-8f));
  std::vector<uint8_t> zeros(scales.size(), 8);
  return ops.PackQuantized({.codes = TensorView(codes.data(), DType::kU8, {out, in / 2}),
                            .scales = TensorView(scales.data(), DType::kBf16, {out, groups}),
                            .zeros = TensorView(zeros.data(), DType::kU8, {out, groups})});
}

double WeightBytes(const std::string& variant, int64_t in, int64_t out) {
  const auto elements = static_cast<double>(in * out);
  if (variant == "fp8") return elements + 4.0 * static_cast<double>(out);
  if (variant == "int4") return elements / 2 + 4.0 * elements / kGroupSize;
  return 2 * elements;
}

void TimeMatrix(CaseTimer& timer, const Matrix& matrix, const std::string& variant) {
  // 72B's down of a rank of 8 has 3696 in_features: no whole groups, which AWQ models pad.
  if (variant == "int4" && matrix.in % kGroupSize != 0) return;
  const int64_t in = timer.Small(matrix.in, kGroupSize), out = timer.Small(matrix.out, 48);
  kernels::Ops& ops = timer.ops();
  const Packed weight = variant == "fp8"    ? PackFp8(ops, out, in)
                        : variant == "int4" ? PackInt4(ops, out, in)
                                            : PackBf16(ops, out, in);
  for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64, 256, 2048}) {
    if (rows > 64 && (matrix.out > 100000 || timer.dry())) continue;
    const auto n = static_cast<double>(rows);
    const DType x_dtype = variant == "fp8" ? ops.RoundedDType(DType::kBf16) : DType::kBf16;
    const double activations =
        n * (static_cast<double>(in) * static_cast<double>(DTypeSize(x_dtype)) +
             2.0 * static_cast<double>(out));
    const Work work{.op = "Linear",
                    .name = std::string(matrix.name) + ", " + std::to_string(rows) + " x " +
                            std::to_string(in) + " x " + std::to_string(out),
                    .bytes = WeightBytes(variant, in, out) + activations,
                    .flops = 2 * n * static_cast<double>(in * out),
                    .shape = Members({{"rows", rows}, {"in", in}, {"out", out}}),
                    .variant = variant};
    timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      if (!weight.ok()) return weight.status();
      kernels::LinearArgs args;
      args.weight = weight->get();
      LONGHAND_ASSIGN_OR_RETURN(args.x, x_dtype == DType::kF8E4M3
                                            ? tensors.RandomCodes(x_dtype, {rows, in})
                                            : tensors.Random(x_dtype, {rows, in}));
      if (variant == "fp8") {
        LONGHAND_ASSIGN_OR_RETURN(args.x_scale, tensors.Random(DType::kF32, {rows}));
      }
      LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(DType::kBf16, {rows, out}));
      return Enqueue([&ops, args] { return ops.Linear(args); });
    });
  }
}

// A prefill's products in the library that is taken where bits may vary, beside ours of the same
// name.
void TimeVarying(CaseTimer& timer, const Matrix& matrix) {
  const int64_t in = timer.Small(matrix.in, kGroupSize), out = timer.Small(matrix.out, 48);
  const int64_t rows = timer.Small(2048, 1024);
  kernels::Ops& ops = timer.ops();
  const auto n = static_cast<double>(rows);
  const Work work{.op = "Linear",
                  .name = std::string(matrix.name) + ", " + std::to_string(rows) + " x " +
                          std::to_string(in) + " x " + std::to_string(out),
                  .bytes = WeightBytes("", in, out) + 2 * n * static_cast<double>(in + out),
                  .flops = 2 * n * static_cast<double>(in * out),
                  .shape = Members({{"rows", rows}, {"in", in}, {"out", out}}),
                  .variant = "cublaslt"};
  std::unique_ptr<kernels::PackedLinear> weight;
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    LONGHAND_RETURN_IF_ERROR(ops.SetDeterministic(false));
    LONGHAND_RETURN_IF_ERROR(ops.Reserve({.max_weight_elements = in * out}));
    LONGHAND_ASSIGN_OR_RETURN(weight, PackBf16(ops, out, in));
    kernels::LinearArgs args;
    args.weight = weight.get();
    LONGHAND_ASSIGN_OR_RETURN(args.x, tensors.Random(DType::kBf16, {rows, in}));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(DType::kBf16, {rows, out}));
    return Enqueue([&ops, args] { return ops.Linear(args); });
  });
  (void)ops.SetDeterministic(true);
}

}  // namespace

void VaryingLinearCases(CaseTimer& timer) {
  for (const Matrix& matrix : kLayers) TimeVarying(timer, matrix);
}

void LinearCases(CaseTimer& timer) {
  for (const Matrix& matrix : kLayers) TimeMatrix(timer, matrix, "");
  for (const Matrix& matrix : kHeads) TimeMatrix(timer, matrix, "");
}

void QuantizedLinearCases(CaseTimer& timer) {
  for (const char* variant : {"fp8", "int4"}) {
    for (const Matrix& matrix : kLayers) TimeMatrix(timer, matrix, variant);
  }
}

}  // namespace longhand::bench
