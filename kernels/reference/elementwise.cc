// Operations on each row or element by itself: RMSNorm, addition, SwiGLU, GELU.
#include <cmath>

#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {

Status RmsNorm(const RmsNormArgs& args) {
  const int64_t hidden_size = args.x.dim(1);
  const float* weight = args.weight.as<float>();
  WithFloatType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    for (int64_t i = 0; i < args.x.dim(0); ++i) {
      const A* x = args.x.as<A>() + i * hidden_size;
      A* out = args.out.as<A>() + i * hidden_size;
      if (!args.residual.empty()) {
        A* residual = args.residual.as<A>() + i * hidden_size;
        for (int64_t j = 0; j < hidden_size; ++j) {
          residual[j] = A(static_cast<float>(residual[j]) + static_cast<float>(x[j]));
        }
        x = residual;
      }
      double sum = 0;
      for (int64_t j = 0; j < hidden_size; ++j) sum += ToDouble(x[j]) * ToDouble(x[j]);
      const double factor = 1.0 / std::sqrt(sum / static_cast<double>(hidden_size) + args.eps);
      for (int64_t j = 0; j < hidden_size; ++j) {
        out[j] = A(static_cast<float>(ToDouble(x[j]) * factor * weight[j]));
      }
    }
  });
  return OkStatus();
}

Status Add(const AddArgs& args) {
  WithFloatType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    A* x = args.x.as<A>();
    const A* y = args.y.as<A>();
    for (int64_t i = 0; i < args.x.num_elements(); ++i) {
      x[i] = A(static_cast<float>(x[i]) + static_cast<float>(y[i]));
    }
  });
  return OkStatus();
}

Status SwiGlu(const SwiGluArgs& args) {
  const int64_t width = args.out.dim(1);
  WithFloatType(args.out.dtype(), [&](auto type) {
    using A = decltype(type);
    for (int64_t i = 0; i < args.out.dim(0); ++i) {
      const A* gate = args.gate_up.as<A>() + i * 2 * width;
      const A* up = gate + width;
      A* out = args.out.as<A>() + i * width;
      for (int64_t j = 0; j < width; ++j) {
        const double g = ToDouble(gate[j]);
        out[j] = A(static_cast<float>(g / (1.0 + std::exp(-g)) * ToDouble(up[j])));
      }
    }
  });
  return OkStatus();
}

Status Gelu(const GeluArgs& args) {
  WithFloatType(args.x.dtype(), [&](auto type) {
    using A = decltype(type);
    A* x = args.x.as<A>();
    for (int64_t i = 0; i < args.x.num_elements(); ++i) {
      const double value = ToDouble(x[i]);
      x[i] = A(static_cast<float>(0.5 * value * std::erfc(-value * std::sqrt(0.5))));
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::reference
