// Linear: sizes around every blocking boundary, all dtypes; a row's bits do not depend on the rows
// beside it.
#include <cmath>
#include <sstream>

#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

struct Shape {
  int64_t rows, in, out;
};

struct Types {
  DType x, weight, out;
};

std::string Name(const Shape& shape, const Types& types, bool bias) {
  std::ostringstream name;
  name << shape.rows << "x" << shape.in << "x" << shape.out << " x=" << DTypeName(types.x)
       << " weight=" << DTypeName(types.weight) << " out=" << DTypeName(types.out)
       << (bias ? " bias" : "");
  return name.str();
}

// The rows [begin, begin + count) of the case's x, alone.
Result<Outputs> RunLinear(Device& device,
                          const Shape& shape,
                          const Types& types,
                          bool bias,
                          int64_t begin,
                          int64_t count) {
  Rng rng(/*seed=*/11);
  const HostTensor x = rng.Normal({shape.rows, shape.in}, types.x);
  const HostTensor weight = rng.Normal({shape.out, shape.in}, types.weight);
  kernels::LinearArgs args;
  if (bias) args.bias = device.In(rng.Normal({shape.out}, DType::kF32));
  LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(weight));
  args.x = device.In(x.Rows(begin, count));
  args.out = device.Out(types.out, {count, shape.out});
  LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
  return Outputs{device.Read(args.out)};
}

// The same rows, computed all at once and then picked.
Result<Outputs> RunThenPick(
    Device& device, const Shape& shape, const Types& types, int64_t begin, int64_t count) {
  LONGHAND_ASSIGN_OR_RETURN(Outputs all, RunLinear(device, shape, types, true, 0, shape.rows));
  return Outputs{all[0].Rows(begin, count)};
}

Tolerance SumTolerance(int64_t terms, DType out) {
  return {std::sqrt(static_cast<double>(terms)) * 0x1p-24 + RoundingOf(out),
          Tolerance::Metric::kOfLargest,
          "f32 sums of random terms lose about sqrt(terms) roundings; then the output's own"};
}

void AddShape(const Shape& shape, const Types& types, bool bias, std::vector<Case>& cases) {
  cases.push_back(
      {.op = "Linear",
       .name = Name(shape, types, bias),
       .body = [=](Device& device) { return RunLinear(device, shape, types, bias, 0, shape.rows); },
       .tolerance = SumTolerance(shape.in, types.out),
       .misaligned = shape.out % 2 == 1});
}

void AddInvariance(const Shape& shape,
                   const Types& types,
                   int64_t begin,
                   int64_t count,
                   std::vector<Case>& cases) {
  std::ostringstream name;
  name << "rows " << begin << ".." << begin + count - 1 << " alone = in "
       << Name(shape, types, true);
  cases.push_back(
      {.op = "Linear",
       .name = name.str(),
       .body = [=](Device& device) { return RunLinear(device, shape, types, true, begin, count); },
       .same_bits =
           [=](Device& device) { return RunThenPick(device, shape, types, begin, count); }});
}

}  // namespace

void AddLinearCases(std::vector<Case>& cases) {
  constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;
  const Types all[] = {{kF32, kF32, kF32},
                       {kF32, kBf16, kF32},
                       {kBf16, kBf16, kBf16},
                       {kBf16, kBf16, kF32},
                       {kBf16, kF32, kBf16}};
  const Shape shapes[] = {{0, 8, 8},      {1, 1, 1},     {1, 29, 116},  {1, 896, 420},
                          {2, 116, 29},   {3, 33, 31},   {4, 128, 96},  {5, 64, 64},
                          {7, 420, 33},   {12, 128, 96}, {13, 257, 65}, {24, 256, 32},
                          {25, 600, 100}, {64, 513, 70}, {100, 64, 1},  {481, 40, 33}};
  for (const Types& types : all) {
    for (const Shape& shape : shapes) AddShape(shape, types, shape.rows % 2 == 1, cases);
  }
  for (const Types& types : {all[0], all[1], all[2]}) {
    for (int64_t rows : {2, 6, 12, 13, 64, 500}) {
      AddInvariance({rows, 545, 97}, types, rows - 1, 1, cases);
    }
    AddInvariance({500, 545, 97}, types, 17, 31, cases);
  }
  // Long rows, which the CUDA backend sums in parts: by one block or by several, of few tokens or
  // of many, with features for one block and for more. The last one's rows lie at 16 bytes, as
  // wgmma takes them.
  const Types& bf16 = all[2];
  for (const Shape& shape : {Shape{1, 1100, 33}, {3, 2200, 260}, {9, 9000, 20}, {40, 2113, 150},
                             {70, 2100, 140}, {130, 3104, 300}}) {
    AddShape(shape, bf16, shape.rows % 2 == 1, cases);
  }
  for (int64_t rows : {7, 15, 30, 64, 129}) {
    AddInvariance({rows, 2120, 200}, bf16, rows - 1, 1, cases);
  }
  AddInvariance({65, 1099, 700}, bf16, 1, 64, cases);
}

}  // namespace longhand::conformance
