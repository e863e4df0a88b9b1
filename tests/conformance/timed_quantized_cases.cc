// Linear with weights of codes in the shapes of real models, timed with --bench beside the bf16
// ones of timed_cases.cc. Each is checked first, on its first and last row.
#include <sstream>

#include "tests/conformance/cases.h"
#include "tests/conformance/quantized_weights.h"

namespace longhand::conformance {
namespace {

constexpr int64_t kGroupSize = 128;

struct Shape {
  int64_t rows, in, out;
  DType codes;
};

Result<kernels::LinearArgs> Make(Device& device, const Shape& shape, DType dtype, bool part) {
  Rng rng(/*seed=*/94);
  HostTensor x = rng.Normal({shape.rows, shape.in}, dtype);
  HostWeight weight = RandomWeight(rng, shape.codes, shape.out, shape.in, kGroupSize);
  if (part && shape.rows > 1) {
    HostTensor two = x.Rows(0, 2);
    for (int64_t i = 0; i < shape.in; ++i) {
      two.Set(shape.in + i, x.At((shape.rows - 1) * shape.in + i));
    }
    x = two;
  }
  kernels::LinearArgs args;
  LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(weight.view()));
  args.x = device.In(x);
  if (shape.codes == DType::kF8E4M3) {
    kernels::QuantizeRowsArgs round;
    round.x = args.x;
    round.out = device.Out(device.ops().RoundedDType(dtype), x.shape);
    round.scale = device.Out(DType::kF32, {x.shape[0]});
    LONGHAND_RETURN_IF_ERROR(device.ops().QuantizeRows(round));
    args.x = round.out;
  }
  args.out = device.Out(dtype, {x.shape[0], shape.out});
  return args;
}

Result<Outputs> FirstAndLast(Device& device, const Shape& shape, DType dtype, bool part) {
  LONGHAND_ASSIGN_OR_RETURN(const kernels::LinearArgs args, Make(device, shape, dtype, part));
  LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
  const HostTensor out = device.Read(args.out);
  return Outputs{out.Rows(0, 1), out.Rows(out.shape[0] - 1, 1)};
}

void AddShape(const Shape& shape, DType dtype, std::vector<Case>& cases) {
  std::ostringstream name;
  name << "time " << shape.rows << "x" << shape.in << "x" << shape.out << " codes "
       << (shape.codes == DType::kU8 ? "int4" : DTypeName(shape.codes)) << " x "
       << DTypeName(dtype);
  const double bytes = BytesOf(shape.codes, shape.out, shape.in, kGroupSize) +
                       static_cast<double>(shape.rows * (shape.in + shape.out)) *
                           static_cast<double>(DTypeSize(dtype));
  cases.push_back({.op = "Linear",
                   .name = name.str(),
                   .body = [=](Device& d) { return FirstAndLast(d, shape, dtype, false); },
                   .tolerance = {1e-5 + RoundingOf(dtype), Tolerance::Metric::kOfLargest,
                                 "f32 sums of thousands of terms, and the output's rounding"},
                   .reference = [=](Device& d) { return FirstAndLast(d, shape, dtype, true); },
                   .timed = [=](Device& d) -> Result<Timed> {
                     LONGHAND_ASSIGN_OR_RETURN(const kernels::LinearArgs args,
                                               Make(d, shape, dtype, false));
                     return Timed{[&d, args] { return d.ops().Linear(args); }, bytes,
                                  2.0 * static_cast<double>(shape.rows * shape.in * shape.out)};
                   }});
}

}  // namespace

// f32 rows are the CPU's, bf16 ones the GPU's: each backend takes one of them.
void AddTimedQuantizedCases(std::vector<Case>& cases) {
  for (const DType codes : {DType::kF8E4M3, DType::kI8, DType::kU8}) {
    for (const int64_t rows : {1, 4, 16, 512}) {
      AddShape({rows, 1536, 8960, codes}, DType::kF32, cases);
    }
    AddShape({1, 3584, 18944, codes}, DType::kF32, cases);
  }
  for (const DType codes : {DType::kF8E4M3, DType::kU8}) {
    for (const int64_t rows : {1, 16, 64, 512}) {
      AddShape({rows, 3584, 37888, codes}, DType::kBf16, cases);
    }
  }
}

}  // namespace longhand::conformance
