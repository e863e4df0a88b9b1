// y[i] += scales[n] * B[n] * (A[n, p] * x[i]), for the rows that have an adapter n.
//
//   x         [num_tokens, in_features]           f32
//   x_scale   [num_tokens]                        f32, or empty: of the rows of x
//   adapters  [num_tokens]                        i32
//   a         [adapters, parts, R, in_features]   f32 or bf16
//   b         [adapters, R, columns]              as a
//   ranks     [adapters, parts]                   i32
//   scales    [adapters]                          f32
//   mid       [num_tokens, parts * R]             f32
//   y         [num_tokens, columns]               f32, in and out
//
// Threads    share rows of A, then columns: a decode step has few rows of x.
// Cost       few rows: reads their adapters' matrices, memory. Many: 2 * rows * rank * (in +
// columns)
//            FLOPs a part, a row at a time.
// Errors     kUnimplemented for bf16 activations, kInvalidArgument for an adapter that is not
// there.
#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_checks.h"

namespace longhand::kernels::cpu {
namespace {

// Columns that one task adds to.
constexpr int64_t kColumns = 2048;

template <typename T>
const T* Elements(const TensorView& tensor, int64_t offset) {
  return static_cast<const T*>(tensor.data()) + offset;
}

}  // namespace

Status Lora(CpuContext& cpu, const LoraArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  LONGHAND_RETURN_IF_ERROR(CheckAdapters(args));
  const int64_t num_tokens = args.x.dim(0), in = args.x.dim(1), columns = args.y.dim(1);
  const int64_t parts = args.a.dim(1), rank = args.a.dim(2);
  const bool is_bf16 = args.a.dtype() == DType::kBf16;
  const int32_t* adapters = args.adapters.as<int32_t>();
  const int32_t* ranks = args.ranks.as<int32_t>();
  const float* x_scale = args.x_scale.empty() ? nullptr : args.x_scale.as<float>();
  float* mid = args.mid.as<float>();

  const int64_t products = num_tokens * parts * rank;
  ForRows(cpu, products, products * in, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = i / (parts * rank), part = i / rank % parts, r = i % rank;
      const int64_t adapter = adapters[token];
      if (adapter < 0 || r >= ranks[adapter * parts + part]) continue;
      const float* x = args.x.as<float>() + token * in;
      const int64_t a = ((adapter * parts + part) * rank + r) * in;
      mid[i] = is_bf16 ? cpu.rows.dot_bf16(x, Elements<uint16_t>(args.a, a), in)
                       : cpu.rows.dot(x, Elements<float>(args.a, a), in);
      if (x_scale != nullptr) mid[i] *= x_scale[token];
    }
  });

  const int64_t stretches = (columns + kColumns - 1) / kColumns;
  const auto add = [&](int64_t token, int64_t first, int64_t last) {
    const int64_t adapter = adapters[token];
    if (adapter < 0) return;
    const float scale = args.scales.as<float>()[adapter];
    for (int64_t part = 0, begin = 0; part < parts; begin = args.part_ends[part++]) {
      const int64_t from = std::max(begin, first), to = std::min(args.part_ends[part], last);
      const int32_t used = ranks[adapter * parts + part];
      if (from >= to || used == 0) continue;
      const float* of_part = mid + (token * parts + part) * rank;
      const int64_t b = adapter * rank * columns + from;
      float* y = args.y.as<float>() + token * columns + from;
      if (is_bf16) {
        cpu.rows.add_delta_bf16(of_part, used, Elements<uint16_t>(args.b, b), columns, scale,
                                to - from, y);
      } else {
        cpu.rows.add_delta(of_part, used, Elements<float>(args.b, b), columns, scale, to - from, y);
      }
    }
  };
  ForRows(cpu, num_tokens * stretches, num_tokens * columns * rank,
          [&](int64_t begin, int64_t end, int) {
            for (int64_t i = begin; i < end; ++i) {
              const int64_t first = i % stretches * kColumns;
              add(i / stretches, first, std::min(first + kColumns, columns));
            }
          });
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
