// y[i] += scales[n] * B[n] * (A[n, p] * x[i]), for the rows that have an adapter n.
//
//   x         [num_tokens, in_features]           f32, bf16 or fp8
//   x_scale   [num_tokens]                        f32, or empty: of the rows of x
//   adapters  [num_tokens]                        i32
//   a         [adapters, parts, R, in_features]   f32 or bf16
//   b         [adapters, R, columns]              as a
//   ranks     [adapters, parts]                   i32
//   scales    [adapters]                          f32
//   y         [num_tokens, columns]               f32 or bf16, in and out
#include <vector>

#include "kernels/host_checks.h"
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

template <typename X, typename W, typename Y>
void AddDelta(const LoraArgs& args, int64_t row, int64_t adapter) {
  const int64_t parts = args.a.dim(1), max_rank = args.a.dim(2), in = args.x.dim(1);
  const int64_t columns = args.y.dim(1);
  const X* x = args.x.as<X>() + row * in;
  Y* y = args.y.as<Y>() + row * columns;
  const double scale = args.scales.as<float>()[adapter];
  const double x_scale = args.x_scale.empty() ? 1 : args.x_scale.as<float>()[row];
  std::vector<double> mid(static_cast<size_t>(max_rank));
  for (int64_t part = 0, column = 0; part < parts; ++part) {
    const int64_t rank = args.ranks.as<int32_t>()[adapter * parts + part];
    for (int64_t r = 0; r < rank; ++r) {
      const W* a = args.a.as<W>() + ((adapter * parts + part) * max_rank + r) * in;
      double sum = 0;
      for (int64_t k = 0; k < in; ++k) sum += ToDouble(a[k]) * ToDouble(x[k]);
      mid[static_cast<size_t>(r)] = x_scale * sum;
    }
    for (; column < args.part_ends[part]; ++column) {
      double sum = 0;
      for (int64_t r = 0; r < rank; ++r) {
        const W* b = args.b.as<W>() + (adapter * max_rank + r) * columns;
        sum += ToDouble(b[column]) * mid[static_cast<size_t>(r)];
      }
      if (rank > 0) y[column] = Y(static_cast<float>(ToDouble(y[column]) + scale * sum));
    }
  }
}

}  // namespace

Status Lora(const LoraArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckAdapters(args));
  for (int64_t row = 0; row < args.x.dim(0); ++row) {
    const int32_t adapter = args.adapters.as<int32_t>()[row];
    if (adapter < 0) continue;
    WithKvType(args.x.dtype(), [&](auto x) {
      WithFloatType(args.a.dtype(), [&](auto w) {
        WithFloatType(args.y.dtype(), [&](auto y) {
          AddDelta<decltype(x), decltype(w), decltype(y)>(args, row, adapter);
        });
      });
    });
  }
  return OkStatus();
}

}  // namespace longhand::kernels::reference
