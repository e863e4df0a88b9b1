// Lora: deltas of adapters, any mix of them and of rows without one.
#include <cmath>
#include <sstream>

#include "tests/conformance/cases.h"
#include "tests/conformance/quantized_weights.h"

namespace longhand::conformance {
namespace {

constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;

struct Shape {
  int64_t rows, in, rank;
  std::vector<int64_t> part_ends;
  int64_t adapters = 3;
  int64_t columns() const { return part_ends.back(); }
  int64_t parts() const { return static_cast<int64_t>(part_ends.size()); }
};

// kF8E4M3: rows that were rounded so, with scales, beside bf16.
DType ActivationOf(DType x) { return x == DType::kF8E4M3 ? kBf16 : x; }

HostTensor MakeX(Device& device, Rng& rng, const Shape& shape, DType x) {
  if (x != DType::kF8E4M3) return rng.Normal({shape.rows, shape.in}, x);
  return RandomRoundedRows(device, rng, {shape.rows, shape.in}, ActivationOf(x));
}

std::string Name(const Shape& shape, DType x, DType weight) {
  std::ostringstream name;
  name << shape.rows << "x" << shape.in << "x" << shape.columns() << " in " << shape.parts()
       << " parts, rank " << shape.rank << " x=" << DTypeName(x) << " weight=" << DTypeName(weight);
  return name.str();
}

// Row 0 has no adapter, the others take turns; adapters have ranks of their own, none at all too.
std::vector<int64_t> Adapters(const Shape& shape) {
  std::vector<int64_t> adapters;
  for (int64_t i = 0; i < shape.rows; ++i) adapters.push_back(i % (shape.adapters + 1) - 1);
  return adapters;
}

kernels::LoraArgs Make(
    Device& device, const Shape& shape, DType x, DType weight, int64_t first, int64_t count) {
  Rng rng(/*seed=*/96);
  kernels::LoraArgs args;
  const int64_t n = shape.adapters, parts = shape.parts(), columns = shape.columns();
  std::vector<int64_t> ranks;
  for (int64_t i = 0; i < n * parts; ++i) ranks.push_back(i % 4 == 3 ? 0 : shape.rank - i % 4);
  args.a = device.In(rng.Normal({n, parts, shape.rank, shape.in}, weight));
  args.b = device.In(rng.Normal({n, shape.rank, columns}, weight));
  args.ranks = device.In(Int32(ranks, {n, parts}));
  args.scales = device.In(rng.Normal({n}, kF32));
  for (size_t part = 0; part < shape.part_ends.size(); ++part)
    args.part_ends[part] = shape.part_ends[part];
  const std::vector<int64_t> all = Adapters(shape);
  args.adapters = device.In(Int32({all.begin() + first, all.begin() + first + count}, {count}));
  args.x = device.In(MakeX(device, rng, shape, x).Rows(first, count));
  args.y = device.InOut(rng.Normal({shape.rows, columns}, ActivationOf(x)).Rows(first, count));
  if (x == DType::kF8E4M3)
    args.x_scale = device.In(rng.Normal({shape.rows}, kF32).Rows(first, count));
  args.mid = device.InOut(HostTensor(kF32, {count, parts * shape.rank}));
  return args;
}

Result<Outputs> Run(Device& device, const Shape& shape, DType x, DType weight) {
  const kernels::LoraArgs args = Make(device, shape, x, weight, 0, shape.rows);
  LONGHAND_RETURN_IF_ERROR(device.ops().Lora(args));
  return Outputs{device.Read(args.y)};
}

// The last row, in company or by itself.
Result<Outputs> LastRow(Device& device, const Shape& shape, DType x, DType weight, bool alone) {
  const kernels::LoraArgs args = alone ? Make(device, shape, x, weight, shape.rows - 1, 1)
                                       : Make(device, shape, x, weight, 0, shape.rows);
  LONGHAND_RETURN_IF_ERROR(device.ops().Lora(args));
  return Outputs{device.Read(args.y).Rows(args.y.dim(0) - 1, 1)};
}

void AddShape(const Shape& shape, DType x, DType weight, std::vector<Case>& cases) {
  const std::string name = Name(shape, x, weight);
  const bool misaligned = shape.in % 2 == 1;
  cases.push_back(
      {.op = "Lora",
       .name = name,
       .body = [=](Device& d) { return Run(d, shape, x, weight); },
       .tolerance = {4 * std::sqrt(static_cast<double>(shape.in * shape.rank)) * 0x1p-24 +
                         2 * RoundingOf(ActivationOf(x)),
                     Tolerance::Metric::kOfLargest,
                     "f32 sums over k and over the rank, one rounding"},
       .misaligned = misaligned});
  if (shape.rows < 2) return;
  cases.push_back({.op = "Lora",
                   .name = name + ", the last row alone",
                   .body = [=](Device& d) { return LastRow(d, shape, x, weight, false); },
                   .misaligned = misaligned,
                   .same_bits = [=](Device& d) { return LastRow(d, shape, x, weight, true); }});
}

// A row without an adapter keeps its bits.
Result<Outputs> Untouched(Device& device, DType x, bool runs) {
  Rng rng(/*seed=*/97);
  Shape shape{4, 24, 8, {16, 40}};
  kernels::LoraArgs args = Make(device, shape, x, x, 0, 4);
  args.adapters = device.In(Int32({-1, -1, -1, -1}));
  if (runs) LONGHAND_RETURN_IF_ERROR(device.ops().Lora(args));
  return Outputs{device.Read(args.y)};
}

void AddTimed(int64_t rows, int64_t rank, std::vector<Case>& cases) {
  const Shape shape{rows, 3584, rank, {3584, 4096, 4608}};
  cases.push_back({.op = "Lora",
                   .name = "time " + Name(shape, kF32, kBf16),
                   .body =
                       [=](Device& d) {
                         return LastRow(d, shape, d.ops().ActivationDType(kBf16), kBf16, false);
                       },
                   .same_bits =
                       [=](Device& d) {
                         return LastRow(d, shape, d.ops().ActivationDType(kBf16), kBf16, true);
                       },
                   .timed = [=](Device& d) -> Result<Timed> {
                     const kernels::LoraArgs args =
                         Make(d, shape, d.ops().ActivationDType(kBf16), kBf16, 0, shape.rows);
                     const auto elements = static_cast<double>(3 * shape.in + shape.columns());
                     const auto adapters = static_cast<double>(std::min(rows, shape.adapters));
                     return Timed{[&d, args] { return d.ops().Lora(args); },
                                  2.0 * adapters * elements * static_cast<double>(rank),
                                  2.0 * static_cast<double>(rows * rank) * elements};
                   }});
}

}  // namespace

void AddLoraCases(std::vector<Case>& cases) {
  const Shape shapes[] = {
      {0, 8, 8, {8}},    {1, 1, 8, {1}},       {5, 64, 8, {48, 64, 80}},  {9, 96, 16, {130, 260}},
      {4, 33, 24, {17}}, {13, 257, 64, {300}}, {6, 1031, 128, {7, 2100}}, {7, 512, 32, {0, 40}}};
  for (const Shape& shape : shapes) AddShape(shape, DType::kF8E4M3, kBf16, cases);
  for (const DType x : {kF32, kBf16}) {
    for (const DType weight : {kF32, kBf16}) {
      for (const Shape& shape : shapes) AddShape(shape, x, weight, cases);
    }
    cases.push_back(
        {.op = "Lora",
         .name = "rows without an adapter stay as they are, " + std::string(DTypeName(x)),
         .body = [=](Device& d) { return Untouched(d, x, true); },
         .same_bits = [=](Device& d) { return Untouched(d, x, false); }});
  }
  for (const int64_t rows : {1, 16, 512}) AddTimed(rows, 64, cases);
}

}  // namespace longhand::conformance
