// QuantizeRows, and Linear with weights of codes: every format at sizes around the blocks of each
// backend; a row's bits do not depend on the rows beside it.
#include <cmath>
#include <limits>
#include <sstream>

#include "tests/conformance/cases.h"
#include "tests/conformance/quantized_weights.h"

namespace longhand::conformance {
namespace {

constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;
constexpr DType kFp8 = DType::kF8E4M3, kInt8 = DType::kI8, kInt4 = DType::kU8;

// Row 0 is zeros; the others are normal, 2^(3 i) times as large each, and every fifth element of
// them lies between the two smallest numbers that fp8 has, or on a tie.
HostTensor MixedRows(int64_t num_rows, int64_t width, DType dtype) {
  Rng rng(/*seed=*/91);
  HostTensor x = rng.Normal({num_rows, width}, dtype);
  for (int64_t i = 0; i < num_rows; ++i) {
    const double scale = i == 0 ? 0 : std::ldexp(1.0, static_cast<int>(3 * i) - 20);
    for (int64_t k = 0; k < width; ++k) {
      double value = x.At(i * width + k);
      if (k % 5 == 4)
        value = std::ldexp(static_cast<double>(k % 7) - 3, -10 + static_cast<int>(k % 4));
      if (k == 0) value = 448;
      x.Set(i * width + k, value * scale);
    }
  }
  return x;
}

void AddQuantizeRows(int64_t num_rows, int64_t width, DType dtype, std::vector<Case>& cases) {
  enum class To { kRows, kSameRows, kCodes };
  for (const To to : {To::kRows, To::kSameRows, To::kCodes}) {
    const bool in_place = to == To::kSameRows;
    const DType out = to == To::kCodes ? kFp8 : dtype;
    std::ostringstream name;
    name << num_rows << "x" << width << " " << DTypeName(dtype) << (in_place ? " in place" : "")
         << (to == To::kCodes ? " to codes" : "");
    cases.push_back({.op = "QuantizeRows",
                     .name = name.str(),
                     .body = [=](Device& device) -> Result<Outputs> {
                       const HostTensor rows = MixedRows(num_rows, width, dtype);
                       kernels::QuantizeRowsArgs args;
                       args.x = in_place ? device.InOut(rows) : device.In(rows);
                       args.out = in_place ? args.x : device.Out(out, {num_rows, width});
                       args.scale = device.Out(kF32, {num_rows});
                       LONGHAND_RETURN_IF_ERROR(device.ops().QuantizeRows(args));
                       return Outputs{device.Read(args.out), device.Read(args.scale)};
                     },
                     .tolerance = {0, Tolerance::Metric::kOfEach,
                                   "a maximum, one division and one rounding: the same bits"},
                     .misaligned = width % 2 == 1});
  }
}

// Rows that RmsNorm rounds are those that it writes and QuantizeRows rounds.
void AddRoundedNorm(int64_t num_rows, int64_t width, DType dtype, std::vector<Case>& cases) {
  const auto run = [=](Device& device, bool residual, bool codes, bool at_once) -> Result<Outputs> {
    Rng rng(/*seed=*/90);
    kernels::RmsNormArgs args;
    args.x = device.In(rng.Normal({num_rows, width}, dtype, 3.0));
    args.weight = device.In(rng.Normal({width}, kF32));
    if (residual) args.residual = device.InOut(rng.Normal({num_rows, width}, dtype));
    const TensorView rounded = device.Out(codes ? kFp8 : dtype, {num_rows, width});
    const TensorView scale = device.Out(kF32, {num_rows});
    args.out = at_once ? rounded : device.Out(dtype, {num_rows, width});
    if (at_once) args.scale = scale;
    LONGHAND_RETURN_IF_ERROR(device.ops().RmsNorm(args));
    if (!at_once) {
      LONGHAND_RETURN_IF_ERROR(device.ops().QuantizeRows({args.out, rounded, scale}));
    }
    Outputs outputs{device.Read(rounded), device.Read(scale)};
    if (residual) outputs.push_back(device.Read(args.residual));
    return outputs;
  };
  for (const bool residual : {false, true}) {
    for (const bool codes : {false, true}) {
      std::ostringstream name;
      name << "rounded, " << num_rows << "x" << width << " " << DTypeName(dtype)
           << (residual ? " residual" : "") << (codes ? " to codes" : "");
      cases.push_back({.op = "RmsNorm",
                       .name = name.str(),
                       .body = [=](Device& d) { return run(d, residual, codes, true); },
                       .tolerance = {0, Tolerance::Metric::kOfEach, "the same operations"},
                       .misaligned = width % 2 == 1,
                       .same_bits = [=](Device& d) { return run(d, residual, codes, false); }});
    }
  }
}

struct Shape {
  int64_t rows, in, out;
  DType codes;
  int64_t group_size = 64;
};

struct Options {
  DType x = kBf16;
  bool bias = false;
  bool x_scale = false;
};

std::string Name(const Shape& shape, const Options& options) {
  std::ostringstream name;
  name << shape.rows << "x" << shape.in << "x" << shape.out
       << " codes=" << (shape.codes == kInt4 ? "int4" : DTypeName(shape.codes))
       << " x=" << DTypeName(options.x);
  if (shape.codes == kInt4) name << " groups of " << shape.group_size;
  name << (options.x_scale ? " scaled rows" : "") << (options.bias ? " bias" : "");
  return name.str();
}

// x as a weight in fp8 takes it: rounded, and in the dtype that the backend multiplies.
Result<TensorView> Round(Device& device, const HostTensor& x, TensorView* scale) {
  const std::vector<int64_t>& shape = x.shape;
  kernels::QuantizeRowsArgs args;
  args.x = device.In(x);
  args.out = device.Out(device.ops().RoundedDType(x.dtype), shape);
  args.scale = device.Out(kF32, {shape[0]});
  LONGHAND_RETURN_IF_ERROR(device.ops().QuantizeRows(args));
  *scale = args.scale;
  return args.out;
}

// The rows [begin, begin + count) of the case's x, alone.
Result<Outputs> Run(
    Device& device, const Shape& shape, const Options& options, int64_t begin, int64_t count) {
  Rng rng(/*seed=*/92);
  const HostTensor x = rng.Normal({shape.rows, shape.in}, options.x);
  const HostTensor x_scale = rng.Normal({shape.rows}, kF32);
  HostWeight weight = RandomWeight(rng, shape.codes, shape.out, shape.in, shape.group_size);
  kernels::LinearArgs args;
  if (options.bias) args.bias = device.In(rng.Normal({shape.out}, kF32));
  LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(weight.view()));
  TensorView row_scale;
  if (shape.codes == kFp8) {
    LONGHAND_ASSIGN_OR_RETURN(args.x, Round(device, x.Rows(begin, count), &row_scale));
  } else {
    args.x = device.In(x.Rows(begin, count));
    row_scale = device.In(x_scale.Rows(begin, count));
  }
  if (options.x_scale) args.x_scale = row_scale;
  args.out = device.Out(options.x, {count, shape.out});
  LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
  return Outputs{device.Read(args.out)};
}

void AddShape(const Shape& shape, const Options& options, std::vector<Case>& cases) {
  cases.push_back(
      {.op = "Linear",
       .name = Name(shape, options),
       .body = [=](Device& device) { return Run(device, shape, options, 0, shape.rows); },
       .tolerance =
           {std::sqrt(static_cast<double>(shape.in)) * 0x1p-24 + RoundingOf(options.x),
            Tolerance::Metric::kOfLargest,
            "products are exact, f32 sums of random terms lose about sqrt(terms) roundings; "
            "then the output's own"},
       .misaligned = shape.out % 2 == 1});
}

void AddInvariance(const Shape& shape,
                   const Options& options,
                   int64_t begin,
                   int64_t count,
                   std::vector<Case>& cases) {
  std::ostringstream name;
  name << "rows " << begin << ".." << begin + count - 1 << " alone = in " << Name(shape, options);
  cases.push_back(
      {.op = "Linear",
       .name = name.str(),
       .body = [=](Device& device) { return Run(device, shape, options, begin, count); },
       .same_bits = [=](Device& device) -> Result<Outputs> {
         LONGHAND_ASSIGN_OR_RETURN(Outputs all, Run(device, shape, options, 0, shape.rows));
         return Outputs{all[0].Rows(begin, count)};
       }});
}

// A row that holds no number must not look like one that does.
void AddNoNumbers(int64_t in, std::vector<Case>& cases) {
  std::ostringstream name;
  name << "NaN and infinity among " << in << " inputs, codes=int8";
  cases.push_back({.op = "Linear",
                   .name = name.str(),
                   .body = [=](Device& device) -> Result<Outputs> {
                     Rng rng(/*seed=*/94);
                     HostTensor x = rng.Normal({9, in}, kF32);
                     x.Set(3 * in + in / 2, std::nan(""));
                     x.Set(5 * in + in - 1, std::numeric_limits<double>::infinity());
                     HostWeight weight = RandomWeight(rng, kInt8, 70, in, 64);
                     kernels::LinearArgs args;
                     LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(weight.view()));
                     args.x = device.In(x);
                     args.out = device.Out(kF32, {9, 70});
                     LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
                     return Outputs{device.Read(args.out)};
                   },
                   .tolerance = {std::sqrt(static_cast<double>(in)) * 0x1p-24,
                                 Tolerance::Metric::kOfLargest, "as without them"}});
}

// A weight that packs, once `spoil` has been at it only with kInvalidArgument.
void AddPacking(const std::string& what,
                DType codes,
                void (*spoil)(kernels::QuantizedWeight&),
                std::vector<Case>& cases) {
  cases.push_back({.op = "Linear",
                   .name = what,
                   .body = [=](Device& device) -> Result<Outputs> {
                     Rng rng(/*seed=*/93);
                     HostWeight weight = RandomWeight(rng, codes, 5, 128, 64);
                     kernels::QuantizedWeight view = weight.view();
                     if (spoil != nullptr) spoil(view);
                     LONGHAND_RETURN_IF_ERROR(device.Pack(view).status());
                     return Outputs{};
                   },
                   .refused = spoil != nullptr});
}

void AddRefusals(std::vector<Case>& cases) {
  using Weight = kernels::QuantizedWeight;
  AddPacking("a small fp8 weight is accepted", kFp8, nullptr, cases);
  AddPacking("a small int4 weight is accepted", kInt4, nullptr, cases);
  AddPacking(
      "refuses codes of int32", kFp8,
      [](Weight& w) { w.codes = TensorView(w.codes.data(), DType::kI32, {5, 32}); }, cases);
  AddPacking(
      "refuses scales of another length", kFp8, [](Weight& w) { w.scales = w.scales.Slice(0, 4); },
      cases);
  AddPacking(
      "refuses fp8 with zeros", kFp8,
      [](Weight& w) { w.zeros = TensorView(w.codes.data(), DType::kU8, {5, 2}); }, cases);
  AddPacking("refuses int4 without zeros", kInt4, [](Weight& w) { w.zeros = {}; }, cases);
  AddPacking(
      "refuses groups of 32", kInt4,
      [](Weight& w) { w.codes = TensorView(w.codes.data(), DType::kU8, {5, 32}); }, cases);
  AddPacking(
      "refuses a zero of 16", kInt4, [](Weight& w) { w.zeros.as<uint8_t>()[9] = 16; }, cases);
  cases.push_back({.op = "Linear",
                   .name = "refuses rows of codes with a weight without",
                   .body = [](Device& device) -> Result<Outputs> {
                     kernels::LinearArgs args;
                     LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(HostTensor(kBf16, {3, 4})));
                     args.x = device.In(HostTensor(kFp8, {2, 4}));
                     args.out = device.InOut(HostTensor(kBf16, {2, 3}));
                     LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
                     return Outputs{};
                   },
                   .refused = true});
  cases.push_back({.op = "Linear",
                   .name = "refuses scaled rows of a weight without codes",
                   .body = [](Device& device) -> Result<Outputs> {
                     kernels::LinearArgs args;
                     LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(HostTensor(kBf16, {3, 4})));
                     args.x = device.In(HostTensor(kBf16, {2, 4}));
                     args.x_scale = device.In(HostTensor(kF32, {2}));
                     args.out = device.InOut(HostTensor(kBf16, {2, 3}));
                     LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
                     return Outputs{};
                   },
                   .refused = true});
}

}  // namespace

void AddQuantizedCases(std::vector<Case>& cases) {
  for (const DType dtype : {kF32, kBf16}) {
    AddQuantizeRows(7, 64, dtype, cases);
    AddQuantizeRows(9, 37, dtype, cases);
    AddQuantizeRows(2, 5000, dtype, cases);
    AddQuantizeRows(0, 8, dtype, cases);
    AddRoundedNorm(5, 64, dtype, cases);
    AddRoundedNorm(3, 37, dtype, cases);
    AddRoundedNorm(2, 5000, dtype, cases);
  }
  for (const DType x : {kF32, kBf16}) {
    for (const DType codes : {kFp8, kInt8}) {
      AddShape({0, 8, 8, codes}, {x}, cases);
      AddShape({1, 1, 1, codes}, {x}, cases);
      AddShape({1, 896, 420, codes}, {x, true, true}, cases);
      AddShape({3, 33, 31, codes}, {x, false, true}, cases);
      AddShape({4, 545, 97, codes}, {x, true}, cases);
      AddShape({13, 257, 65, codes}, {x, true, true}, cases);
      AddShape({25, 600, 100, codes}, {x}, cases);
      AddShape({64, 513, 70, codes}, {x, false, true}, cases);
      AddShape({100, 640, 33, codes}, {x, true, true}, cases);
    }
    for (const int64_t group : {64, 128}) {
      AddShape({1, 128, 1, kInt4, group}, {x}, cases);
      AddShape({1, 896, 420, kInt4, group}, {x, true}, cases);
      AddShape({4, 640, 97, kInt4, group}, {x, true, true}, cases);
      AddShape({13, 256, 65, kInt4, group}, {x}, cases);
      AddShape({40, 384, 100, kInt4, group}, {x, true}, cases);
      AddShape({100, 640, 33, kInt4, group}, {x}, cases);
    }
    AddShape({2, 384, 40, kInt4, 192}, {x}, cases);
  }
  for (const DType x : {kF32, kBf16}) {
    for (const DType codes : {kFp8, kInt8, kInt4}) {
      for (const int64_t rows : {2, 6, 13, 64, 130}) {
        AddInvariance({rows, 640, 97, codes}, {x, true, true}, rows - 1, 1, cases);
      }
      AddInvariance({130, 640, 97, codes}, {x, true, true}, 17, 31, cases);
    }
  }
  // Long rows, which the CUDA backend sums in parts; enough features for its blocks of eight warps.
  for (const DType codes : {kFp8, kInt4}) {
    for (const Shape& shape : {Shape{1, 1152, 33, codes, 128},
                               {3, 2176, 340, codes, 128},
                               {40, 2112, 150, codes, 64},
                               {130, 3072, 300, codes, 128}}) {
      AddShape(shape, {kBf16, true, true}, cases);
    }
    AddInvariance({65, 2176, 700, codes, 128}, {kBf16, true, true}, 1, 64, cases);
    AddInvariance({30, 2176, 200, codes, 128}, {kBf16, true, true}, 29, 1, cases);
  }
  AddNoNumbers(45, cases);
  AddNoNumbers(320, cases);
  AddRefusals(cases);
}

}  // namespace longhand::conformance
