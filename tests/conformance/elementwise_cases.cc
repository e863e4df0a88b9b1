// RmsNorm, Add, SwiGlu, Gelu.
#include <cmath>
#include <limits>

#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

Result<Outputs> RunRmsNorm(
    Device& device, int64_t rows, int64_t width, DType dtype, bool residual, bool in_place) {
  Rng rng(/*seed=*/31);
  kernels::RmsNormArgs args;
  const HostTensor x = rng.Normal({rows, width}, dtype, 3.0);
  args.weight = device.In(rng.Normal({width}, DType::kF32));
  if (residual) args.residual = device.InOut(rng.Normal({rows, width}, dtype));
  args.x = in_place ? device.InOut(x) : device.In(x);
  args.out = in_place ? args.x : device.Out(dtype, {rows, width});
  LONGHAND_RETURN_IF_ERROR(device.ops().RmsNorm(args));
  Outputs outputs{device.Read(args.out)};
  if (residual) outputs.push_back(device.Read(args.residual));
  return outputs;
}

// Rows of very different sizes: all zeros, the smallest normal numbers, large ones.
Result<Outputs> RunRmsNormExtremes(Device& device) {
  Rng rng(/*seed=*/32);
  constexpr int64_t kWidth = 37;
  HostTensor x = rng.Normal({4, kWidth}, DType::kF32);
  for (int64_t i = 0; i < kWidth; ++i) {
    x.Set(i, 0);
    x.Set(kWidth + i, x.At(kWidth + i) * 1e-37);
    x.Set(2 * kWidth + i, x.At(2 * kWidth + i) * 1e17);
  }
  kernels::RmsNormArgs args;
  args.x = device.In(x);
  args.weight = device.In(rng.Normal({kWidth}, DType::kF32));
  args.out = device.Out(DType::kF32, {4, kWidth});
  LONGHAND_RETURN_IF_ERROR(device.ops().RmsNorm(args));
  return Outputs{device.Read(args.out)};
}

Result<Outputs> RunAdd(Device& device, int64_t rows, int64_t width, DType dtype) {
  Rng rng(/*seed=*/33);
  kernels::AddArgs args;
  args.x = device.InOut(rng.Normal({rows, width}, dtype));
  args.y = device.In(rng.Normal({rows, width}, dtype));
  LONGHAND_RETURN_IF_ERROR(device.ops().Add(args));
  return Outputs{device.Read(args.x)};
}

// The ends of exp's range, both infinities and NaN stand among ordinary values.
HostTensor WithExtremes(HostTensor x) {
  const double inf = std::numeric_limits<double>::infinity();
  const double values[] = {0, -0.0, 88, -85, 200, -200, 1e-30, inf, std::nan("")};
  for (int64_t i = 0; i < 9 && i < x.num_elements(); ++i) x.Set(i, values[i]);
  return x;
}

Result<Outputs> RunSwiGlu(Device& device, int64_t rows, int64_t width, DType dtype) {
  Rng rng(/*seed=*/34);
  kernels::SwiGluArgs args;
  args.gate_up = device.In(WithExtremes(rng.Normal({rows, 2 * width}, dtype, 3.0)));
  args.out = device.Out(dtype, {rows, width});
  LONGHAND_RETURN_IF_ERROR(device.ops().SwiGlu(args));
  return Outputs{device.Read(args.out)};
}

Result<Outputs> RunGelu(Device& device, int64_t rows, int64_t width, DType dtype) {
  Rng rng(/*seed=*/35);
  kernels::GeluArgs args;
  args.x = device.InOut(rng.Normal({rows, width}, dtype, 2.0));
  LONGHAND_RETURN_IF_ERROR(device.ops().Gelu(args));
  return Outputs{device.Read(args.x)};
}

void AddSize(int64_t rows, int64_t width, DType dtype, std::vector<Case>& cases) {
  const std::string size =
      std::to_string(rows) + "x" + std::to_string(width) + " " + std::string(DTypeName(dtype));
  const bool misaligned = width % 2 == 1;
  const double rounding = RoundingOf(dtype);
  const Tolerance norm{rounding + 2e-6, Tolerance::Metric::kOfEach,
                       "an f32 sum of squares and a root, then the output's rounding"};
  for (bool residual : {false, true}) {
    for (bool in_place : {false, true}) {
      cases.push_back(
          {.op = "RmsNorm",
           .name = size + (residual ? " residual" : "") + (in_place ? " in place" : ""),
           .body = [=](Device& d) { return RunRmsNorm(d, rows, width, dtype, residual, in_place); },
           .tolerance = norm,
           .misaligned = misaligned});
    }
  }
  cases.push_back({.op = "Add",
                   .name = size,
                   .body = [=](Device& d) { return RunAdd(d, rows, width, dtype); },
                   .tolerance = {0, Tolerance::Metric::kOfEach, "one f32 addition, rounded once"},
                   .misaligned = misaligned});
  cases.push_back({.op = "SwiGlu",
                   .name = size,
                   .body = [=](Device& d) { return RunSwiGlu(d, rows, width, dtype); },
                   .tolerance = {rounding + 1e-6, Tolerance::Metric::kOfEach,
                                 "exp within 2 units, a division and two products"},
                   .misaligned = misaligned});
  cases.push_back({.op = "Gelu",
                   .name = size,
                   .body = [=](Device& d) { return RunGelu(d, rows, width, dtype); },
                   .tolerance = {rounding + 1e-6, Tolerance::Metric::kOfLargest,
                                 "erf's absolute error; far in the negative tail the result is "
                                 "too small to matter"},
                   .misaligned = misaligned});
}

}  // namespace

void AddElementwiseCases(std::vector<Case>& cases) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    for (int64_t width : {1, 8, 15, 16, 17, 29, 116, 420, 1280, 3420}) {
      AddSize(width > 1000 ? 9 : 3, width, dtype, cases);
    }
    AddSize(0, 16, dtype, cases);
  }
  cases.push_back({.op = "RmsNorm",
                   .name = "rows of zeros, tiny and large numbers",
                   .body = RunRmsNormExtremes,
                   .tolerance = {2e-6, Tolerance::Metric::kOfEach, "as above"}});
}

}  // namespace longhand::conformance
