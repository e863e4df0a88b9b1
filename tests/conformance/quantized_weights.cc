#include "tests/conformance/quantized_weights.h"

#include <cmath>

namespace longhand::conformance {

HostWeight RandomWeight(Rng& rng, DType codes, int64_t out, int64_t in, int64_t group_size) {
  if (codes == DType::kU8) {
    HostWeight weight = {rng.Bytes({out, in / 2}),
                         rng.Normal({out, in / group_size}, DType::kBf16, 0.02),
                         rng.Bytes({out, in / group_size})};
    for (uint8_t& zero : weight.zeros.bytes) zero &= 15;
    return weight;
  }
  const int64_t groups = kernels::NumInt8Groups(in);
  HostWeight weight = {HostTensor(codes, {out, in}),
                       codes == DType::kI8 ? HostTensor(DType::kBf16, {out, groups})
                                           : HostTensor(DType::kF32, {out}),
                       {}};
  HostTensor rows = rng.Normal({out, in}, DType::kF32, 0.02);
  const kernels::QuantizedWeight view = weight.view();
  for (int64_t n = 0; n < out; ++n) {
    const float* row = rows.view().as<float>() + n * in;
    if (codes == DType::kI8) {
      kernels::QuantizeInt8(row, in, view.codes.as<int8_t>() + n * in,
                            view.scales.as<Bf16>() + n * groups);
    } else {
      kernels::QuantizeFp8(row, in, weight.codes.bytes.data() + n * in,
                           view.scales.as<float>() + n);
    }
  }
  return weight;
}

HostTensor RandomRoundedRows(Device& device,
                             Rng& rng,
                             std::vector<int64_t> shape,
                             DType activation) {
  const HostTensor numbers = rng.Normal(std::move(shape), DType::kF8E4M3);
  HostTensor rows(device.ops().RoundedDType(activation), numbers.shape);
  for (int64_t i = 0; i < rows.num_elements(); ++i) rows.Set(i, numbers.At(i));
  return rows;
}

double BytesOf(DType codes, int64_t out, int64_t in, int64_t group_size) {
  const auto elements = static_cast<double>(out * in);
  if (codes == DType::kF8E4M3) return elements + 4.0 * static_cast<double>(out);
  if (codes == DType::kI8) {
    return elements + 2.0 * static_cast<double>(out * kernels::NumInt8Groups(in));
  }
  return elements / 2 + 2.5 * elements / static_cast<double>(group_size);
}

}  // namespace longhand::conformance
