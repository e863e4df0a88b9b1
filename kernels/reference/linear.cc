// out[i] = x[i] * weight^T + bias
//
//   x       [num_tokens, in_features]    f32 or bf16
//   weight  [out_features, in_features]  f32 or bf16, kept as it came
//   bias    [out_features]               f32, or empty
//   out     [num_tokens, out_features]   as x, or f32
#include <cstring>
#include <vector>

#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

class PlainWeight final : public PackedLinear {
 public:
  explicit PlainWeight(TensorView weight)
      : bytes_(static_cast<char*>(weight.data()),
               static_cast<char*>(weight.data()) + weight.num_bytes()),
        view_(bytes_.data(), weight.dtype(), {weight.dim(0), weight.dim(1)}) {}

  int64_t out_features() const override { return view_.dim(0); }
  int64_t in_features() const override { return view_.dim(1); }
  size_t size_bytes() const override { return bytes_.size(); }
  const TensorView& view() const { return view_; }

 private:
  std::vector<char> bytes_;
  TensorView view_;
};

template <typename X, typename W, typename Out>
void Multiply(const LinearArgs& args, const TensorView& weight_view) {
  const int64_t out_features = weight_view.dim(0), in_features = weight_view.dim(1);
  const X* x = args.x.as<X>();
  const W* weight = weight_view.as<W>();
  const float* bias = args.bias.empty() ? nullptr : args.bias.as<float>();
  Out* out = args.out.as<Out>();
  for (int64_t i = 0; i < args.x.dim(0); ++i) {
    for (int64_t j = 0; j < out_features; ++j) {
      double sum = bias == nullptr ? 0.0 : bias[j];
      for (int64_t k = 0; k < in_features; ++k) {
        sum += ToDouble(x[i * in_features + k]) * ToDouble(weight[j * in_features + k]);
      }
      out[i * out_features + j] = Out(static_cast<float>(sum));
    }
  }
}

}  // namespace

Result<std::unique_ptr<PackedLinear>> PackLinear(TensorView weight) {
  return std::unique_ptr<PackedLinear>(std::make_unique<PlainWeight>(weight));
}

Status Linear(const LinearArgs& args) {
  const auto* weight = dynamic_cast<const PlainWeight*>(args.weight);
  if (weight == nullptr) return InvalidArgument("weight was packed by another backend");
  WithFloatType(args.x.dtype(), [&](auto x) {
    WithFloatType(weight->view().dtype(), [&](auto w) {
      WithFloatType(args.out.dtype(), [&](auto out) {
        Multiply<decltype(x), decltype(w), decltype(out)>(args, weight->view());
      });
    });
  });
  return OkStatus();
}

}  // namespace longhand::kernels::reference
