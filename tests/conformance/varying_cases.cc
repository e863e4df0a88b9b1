// Linear of many rows where a backend may sum them in another order (Ops::SetDeterministic): within
// the tolerance of sums, plain and of gates and ups; and the bits are back afterwards.
#include <cmath>
#include <sstream>

#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

constexpr DType kBf16 = DType::kBf16;

struct Shape {
  int64_t rows, in, out;
  kernels::LinearLayout layout;
};

Result<Outputs> Run(Device& device, const Shape& shape) {
  Rng rng(/*seed=*/88);
  kernels::LinearArgs args;
  args.x = device.In(rng.Normal({shape.rows, shape.in}, kBf16));
  LONGHAND_ASSIGN_OR_RETURN(args.weight,
                            device.Pack(rng.Normal({shape.out, shape.in}, kBf16), shape.layout));
  args.out = device.Out(kBf16, {shape.rows, args.weight->out_columns()});
  LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
  return Outputs{device.Read(args.out)};
}

Result<Outputs> RunVarying(Device& device, const Shape& shape) {
  const bool gates = shape.layout == kernels::LinearLayout::kGateUp;
  LONGHAND_RETURN_IF_ERROR(device.ops().SetDeterministic(false));
  const Status reserved = device.ops().Reserve(
      {.max_weight_elements = shape.in * shape.out, .max_gate_up_features = gates ? shape.out : 0});
  Result<Outputs> outputs = reserved.ok() ? Run(device, shape) : reserved;
  LONGHAND_RETURN_IF_ERROR(device.ops().SetDeterministic(true));
  return outputs;
}

}  // namespace

void AddVaryingCases(std::vector<Case>& cases) {
  constexpr auto kPlain = kernels::LinearLayout::kPlain, kGateUp = kernels::LinearLayout::kGateUp;
  for (const Shape& shape : {Shape{1024, 128, 96, kPlain},
                             {1100, 328, 104, kPlain},
                             {1024, 72, 48, kGateUp},
                             {2100, 136, 40, kGateUp}}) {
    std::ostringstream name;
    name << "bits may vary, " << (shape.layout == kGateUp ? "gate and up, " : "") << shape.rows
         << "x" << shape.in << "x" << shape.out;
    const double sums = std::sqrt(static_cast<double>(shape.in)) * 0x1p-24 + RoundingOf(kBf16);
    cases.push_back(
        {.op = "Linear",
         .name = name.str(),
         .body = [=](Device& d) { return RunVarying(d, shape); },
         .tolerance = {shape.layout == kGateUp ? 4 * sums : sums, Tolerance::Metric::kOfLargest,
                       "as where bits are deterministic: another order of sums"},
         .reference = [=](Device& d) { return Run(d, shape); }});
    cases.push_back({.op = "Linear",
                     .name = name.str() + ", and then not",
                     .body = [=](Device& d) -> Result<Outputs> {
                       LONGHAND_RETURN_IF_ERROR(RunVarying(d, shape).status());
                       return Run(d, shape);
                     },
                     .same_bits = [=](Device& d) { return Run(d, shape); }});
  }
}

}  // namespace longhand::conformance
