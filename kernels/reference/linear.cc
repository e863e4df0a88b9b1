// out[i] = x[i] * weight^T + bias
//
//   x       [num_tokens, in_features]    f32 or bf16; fp8 with a quantised weight
//   weight  [out_features, in_features]  f32 or bf16, kept as it came
//   bias    [out_features]               f32, or empty
//   out     [num_tokens, out_features]   as x, or f32
#include <algorithm>
#include <utility>
#include <vector>

#include "common/fp8.h"
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

// Elements as floats where they are quantised, but for the scales of whole rows. Of int8 they are
// as they would be with their groups' scales, and rows of x are rounded too.
class PlainWeight final : public PackedLinear {
 public:
  PlainWeight(TensorView weight, LinearLayout layout)
      : PackedLinear(layout),
        bytes_(static_cast<char*>(weight.data()),
               static_cast<char*>(weight.data()) + weight.num_bytes()),
        view_(bytes_.data(), weight.dtype(), {weight.dim(0), weight.dim(1)}) {}
  PlainWeight(TensorView elements,
              LinearLayout layout,
              std::vector<float> row_scales,
              bool rounds_x)
      : PlainWeight(elements, layout) {
    row_scales_ = std::move(row_scales);
    rounds_x_ = rounds_x;
  }

  int64_t out_features() const override { return view_.dim(0); }
  int64_t in_features() const override { return view_.dim(1); }
  bool is_quantized() const override { return !row_scales_.empty(); }
  size_t size_bytes() const override { return bytes_.size(); }
  const TensorView& view() const { return view_; }
  const std::vector<float>& row_scales() const { return row_scales_; }
  bool rounds_x() const { return rounds_x_; }

 private:
  std::vector<char> bytes_;
  TensorView view_;
  std::vector<float> row_scales_;
  bool rounds_x_ = false;
};

template <typename X, typename W, typename Out>
void Multiply(const LinearArgs& args, const PlainWeight& plain) {
  const int64_t out_features = plain.out_features(), in_features = plain.in_features();
  const X* x = args.x.as<X>();
  const W* weight = plain.view().as<W>();
  const float* bias = args.bias.empty() ? nullptr : args.bias.as<float>();
  const float* x_scale = args.x_scale.empty() ? nullptr : args.x_scale.as<float>();
  Out* out = args.out.as<Out>();
  for (int64_t i = 0; i < args.x.dim(0); ++i) {
    for (int64_t j = 0; j < out_features; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < in_features; ++k) {
        sum += ToDouble(x[i * in_features + k]) * ToDouble(weight[j * in_features + k]);
      }
      if (plain.is_quantized()) sum *= plain.row_scales()[static_cast<size_t>(j)];
      if (x_scale != nullptr) sum *= x_scale[i];
      if (bias != nullptr) sum += bias[j];
      out[i * out_features + j] = Out(static_cast<float>(sum));
    }
  }
}

// x as it is multiplied with a weight in int8: floats, rounded by groups.
std::vector<float> RoundedX(const TensorView& x) {
  const int64_t width = x.dim(1);
  std::vector<float> out(static_cast<size_t>(x.num_elements()));
  std::vector<int8_t> codes(static_cast<size_t>(width));
  std::vector<float> scales(static_cast<size_t>(NumInt8Groups(width)));
  WithFloatType(x.dtype(), [&](auto type) {
    const auto* from = x.as<decltype(type)>();
    std::transform(from, from + x.num_elements(), out.begin(),
                   [](auto value) { return static_cast<float>(value); });
  });
  for (int64_t i = 0; i < x.dim(0); ++i) {
    float* row = out.data() + i * width;
    QuantizeInt8(row, width, codes.data(), scales.data());
    for (int64_t k = 0; k < width; ++k) {
      row[k] = codes[static_cast<size_t>(k)] * scales[static_cast<size_t>(k / kInt8Group)];
    }
  }
  return out;
}

// Element (n, k) of a weight in int8.
float Int8Element(const QuantizedWeight& weight, int64_t n, int64_t k) {
  const int64_t groups = weight.scales.dim(1);
  return weight.codes.as<int8_t>()[n * weight.in_features() + k] *
         static_cast<float>(weight.scales.as<Bf16>()[n * groups + k / kInt8Group]);
}

// Element (n, k) of a weight in 4 bits.
float Int4Element(const QuantizedWeight& weight, int64_t n, int64_t k) {
  const int64_t place = n * weight.in_features() + k;
  const int code = weight.codes.as<uint8_t>()[place / 2] >> (place % 2 * 4) & 15;
  const int64_t group = n * weight.scales.dim(1) + k / weight.group_size();
  const int zero = weight.zeros.as<uint8_t>()[group];
  const auto scale = static_cast<float>(weight.scales.as<Bf16>()[group]);
  return static_cast<float>(Bf16(static_cast<float>(code - zero) * scale));
}

}  // namespace

int64_t PackedBytes(const WeightShape& shape) {
  const bool is_bf16 = shape.dtype == DType::kBf16;
  return shape.out_features * shape.in_features *
         static_cast<int64_t>(DTypeSize(is_bf16 ? DType::kBf16 : DType::kF32));
}

Result<std::unique_ptr<PackedLinear>> PackLinear(TensorView weight, LinearLayout layout) {
  return std::unique_ptr<PackedLinear>(std::make_unique<PlainWeight>(weight, layout));
}

Result<std::unique_ptr<PackedLinear>> PackQuantized(const QuantizedWeight& weight,
                                                    LinearLayout layout) {
  const int64_t rows = weight.out_features(), columns = weight.in_features();
  std::vector<float> elements(static_cast<size_t>(rows * columns));
  std::vector<float> scales(static_cast<size_t>(rows), 1.0f);
  const bool is_fp8 = weight.codes.dtype() == DType::kF8E4M3;
  const bool is_int8 = weight.codes.dtype() == DType::kI8;
  if (is_fp8) std::copy_n(weight.scales.as<float>(), rows, scales.begin());
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < columns; ++k) {
      const int64_t i = n * columns + k;
      elements[static_cast<size_t>(i)] = is_fp8 ? static_cast<float>(weight.codes.as<Fp8E4M3>()[i])
                                         : is_int8 ? Int8Element(weight, n, k)
                                                   : Int4Element(weight, n, k);
    }
  }
  return std::unique_ptr<PackedLinear>(
      std::make_unique<PlainWeight>(TensorView(elements.data(), DType::kF32, {rows, columns}),
                                    layout, std::move(scales), is_int8));
}

Status QuantizeRows(const QuantizeRowsArgs& args) {
  const int64_t width = args.x.dim(1);
  std::vector<float> row(static_cast<size_t>(width));
  std::vector<Fp8E4M3> codes(row.size());
  WithFloatType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    for (int64_t i = 0; i < args.x.dim(0); ++i) {
      const A* x = args.x.as<A>() + i * width;
      for (size_t k = 0; k < row.size(); ++k) row[k] = static_cast<float>(x[k]);
      QuantizeFp8(row.data(), width, &codes.data()->bits, args.scale.as<float>() + i);
      if (args.out.dtype() == DType::kF8E4M3) {
        std::copy(codes.begin(), codes.end(), args.out.as<Fp8E4M3>() + i * width);
        continue;
      }
      A* out = args.out.as<A>() + i * width;
      for (size_t k = 0; k < row.size(); ++k) out[k] = A(static_cast<float>(codes[k]));
    }
  });
  return OkStatus();
}

Status Linear(const LinearArgs& args) {
  const auto* weight = dynamic_cast<const PlainWeight*>(args.weight);
  if (weight == nullptr) return InvalidArgument("weight was packed by another backend");
  LinearArgs product = args;
  std::vector<char> gate_up;
  if (args.out.dim(1) != weight->out_features()) {
    gate_up.resize(2 * args.out.num_bytes());
    product.out =
        TensorView(gate_up.data(), args.out.dtype(), {args.out.dim(0), weight->out_features()});
  }
  std::vector<float> rounded;
  if (weight->rounds_x()) {
    rounded = RoundedX(args.x);
    product.x = TensorView(rounded.data(), DType::kF32, {args.x.dim(0), args.x.dim(1)});
  }
  WithKvType(product.x.dtype(), [&](auto x) {
    WithFloatType(weight->view().dtype(), [&](auto w) {
      WithFloatType(args.out.dtype(), [&](auto out) {
        Multiply<decltype(x), decltype(w), decltype(out)>(product, *weight);
      });
    });
  });
  return gate_up.empty() ? OkStatus() : SwiGlu({.gate_up = product.out, .out = args.out});
}

}  // namespace longhand::kernels::reference
