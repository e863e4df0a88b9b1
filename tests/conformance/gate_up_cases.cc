// Linear of a weight of gates and ups: the bits of Linear and SwiGlu, one call after the other.
#include <cmath>
#include <optional>
#include <sstream>

#include "tests/conformance/cases.h"
#include "tests/conformance/quantized_weights.h"

namespace longhand::conformance {
namespace {

constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16, kFp8 = DType::kF8E4M3;
constexpr auto kGateUp = kernels::LinearLayout::kGateUp;
constexpr auto kPlain = kernels::LinearLayout::kPlain;

struct Shape {
  int64_t rows, in, features;
};

struct Types {
  DType x;
  DType weight;            // or codes: then rows may be scaled
  int64_t group_size = 0;  // of int4
  bool is_quantized() const { return weight != kF32 && weight != kBf16; }
};

std::string Name(const Shape& shape, const Types& types, bool bias) {
  std::ostringstream name;
  name << "gate and up, " << shape.rows << "x" << shape.in << "x" << shape.features
       << " x=" << DTypeName(types.x) << " weight=";
  if (types.group_size > 0) {
    name << "int4 in groups of " << types.group_size;
  } else {
    name << DTypeName(types.weight);
  }
  name << (bias ? " bias" : "");
  return name.str();
}

HostTensor MakeX(Device& device, Rng& rng, const Shape& shape, const Types& types) {
  if (types.weight != kFp8) return rng.Normal({shape.rows, shape.in}, types.x);
  return RandomRoundedRows(device, rng, {shape.rows, shape.in}, types.x);
}

enum class Way { kInOne, kSwiGluApart, kPlainWeight };

Result<Outputs> Run(Device& device, const Shape& shape, const Types& types, bool bias, Way way) {
  Rng rng(/*seed=*/94);
  const int64_t both = 2 * shape.features;
  kernels::LinearArgs args;
  args.x = device.In(MakeX(device, rng, shape, types));
  const auto layout = way == Way::kPlainWeight ? kPlain : kGateUp;
  if (types.is_quantized()) {
    HostWeight weight = RandomWeight(rng, types.weight, both, shape.in, types.group_size);
    LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(weight.view(), layout));
    if (bias) args.x_scale = device.In(rng.Normal({shape.rows}, kF32));
  } else {
    LONGHAND_ASSIGN_OR_RETURN(args.weight,
                              device.Pack(rng.Normal({both, shape.in}, types.weight), layout));
  }
  if (bias) args.bias = device.In(rng.Normal({both}, kF32));
  const TensorView out = device.Out(types.x, {shape.rows, shape.features});
  args.out = way == Way::kInOne ? out : device.Out(types.x, {shape.rows, both});
  LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
  if (way != Way::kInOne)
    LONGHAND_RETURN_IF_ERROR(device.ops().SwiGlu({.gate_up = args.out, .out = out}));
  return Outputs{device.Read(out)};
}

void AddShape(const Shape& shape, const Types& types, bool bias, std::vector<Case>& cases) {
  const std::string name = Name(shape, types, bias);
  const bool misaligned = shape.features % 2 == 1;
  const Body in_one = Once([=](Device& d) { return Run(d, shape, types, bias, Way::kInOne); });
  cases.push_back(
      {.op = "Linear",
       .name = name,
       .body = in_one,
       .tolerance = {4 * (std::sqrt(static_cast<double>(shape.in)) * 0x1p-24 + RoundingOf(types.x)),
                     Tolerance::Metric::kOfLargest,
                     "sums of gate and of up, each rounded, and silu's slope of 1.1"},
       .misaligned = misaligned});
  cases.push_back(
      {.op = "Linear",
       .name = name + " = Linear, then SwiGlu",
       .body = in_one,
       .misaligned = misaligned,
       .same_bits = [=](Device& d) { return Run(d, shape, types, bias, Way::kPlainWeight); }});
  cases.push_back(
      {.op = "Linear",
       .name = name + " = its sums, then SwiGlu",
       .body = in_one,
       .misaligned = misaligned,
       .same_bits = [=](Device& d) { return Run(d, shape, types, bias, Way::kSwiGluApart); }});
}

void AddRefusals(std::vector<Case>& cases) {
  const auto add = [&](const char* what, int64_t rows, DType out, int64_t columns) {
    cases.push_back({.op = "Linear",
                     .name = std::string("gate and up, ") + what,
                     .body = [=](Device& device) -> Result<Outputs> {
                       kernels::LinearArgs args;
                       LONGHAND_ASSIGN_OR_RETURN(
                           args.weight, device.Pack(HostTensor(kBf16, {rows, 8}), kGateUp));
                       args.x = device.In(HostTensor(kBf16, {2, 8}));
                       args.out = device.InOut(HostTensor(out, {2, columns}));
                       LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
                       return Outputs{};
                     },
                     .refused = true});
  };
  add("refuses an odd number of rows", 7, kBf16, 3);
  add("refuses an out of neither width", 8, kBf16, 6);
  add("refuses an out of float32 for x in bfloat16", 8, kF32, 4);
}

}  // namespace

void AddGateUpCases(std::vector<Case>& cases) {
  // Around the blocks of every kernel: few rows and many, sums in parts of k or in one.
  const Shape shapes[] = {{0, 8, 8},    {1, 1, 1},      {1, 896, 210},  {3, 33, 17},
                          {8, 128, 96}, {13, 257, 33},  {24, 1100, 40}, {64, 513, 35},
                          {100, 64, 1}, {130, 600, 75}, {9, 2200, 130}, {150, 2113, 70}};
  for (const Types& types : {Types{kF32, kF32}, {kF32, kBf16}, {kBf16, kBf16}, {kBf16, kF32}}) {
    for (const Shape& shape : shapes) AddShape(shape, types, shape.rows % 2 == 1, cases);
  }
  for (const DType x : {kF32, kBf16}) {
    for (const Types& types :
         {Types{x, kFp8}, {x, DType::kI8}, {x, DType::kU8, 64}, {x, DType::kU8, 128}}) {
      for (const Shape& shape : {Shape{1, 896, 210},
                                 {4, 640, 17},
                                 {13, 256, 33},
                                 {40, 384, 75},
                                 {100, 640, 35},
                                 {9, 2176, 170},
                                 {130, 2304, 70}}) {
        AddShape(shape, types, shape.rows % 2 == 1, cases);
      }
    }
  }
  AddRefusals(cases);
}

}  // namespace longhand::conformance
