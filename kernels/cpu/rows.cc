// Operations on each row by itself: embedding, gather, scatter, RMSNorm, addition, SwiGLU, GELU.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_checks.h"
#include "kernels/row_scale.h"

namespace longhand::kernels::cpu {
namespace {

const uint16_t* Bits(const TensorView& tensor) {
  return reinterpret_cast<const uint16_t*>(tensor.as<Bf16>());
}

}  // namespace

Status Embedding(CpuContext& cpu, const EmbeddingArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.out));
  const int64_t rows = args.table.dim(0), width = args.table.dim(1);
  const int32_t* ids = args.ids.as<int32_t>();
  const bool has_history = args.history.rank() != 0;
  const int32_t* history = has_history ? args.history.as<int32_t>() : nullptr;
  const int64_t* history_idx = has_history ? args.history_idx.as<int64_t>() : nullptr;
  ForRows(cpu, args.ids.dim(0), args.out.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = has_history ? history_idx[i] : -1;
      const int64_t row = (from < 0 ? ids[i] : history[from]) - args.first_id;
      float* out = args.out.as<float>() + i * width;
      if (row < 0 || row >= rows) {
        std::fill_n(out, width, 0.0f);
      } else if (args.table.dtype() == DType::kBf16) {
        cpu.rows.widen(Bits(args.table) + row * width, width, out);
      } else {
        std::copy_n(args.table.as<float>() + row * width, width, out);
      }
    }
  });
  return OkStatus();
}

Status GatherRows(CpuContext& cpu, const GatherRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckIndices("rows", args.rows, args.x.dim(0)));
  const size_t row_bytes = static_cast<size_t>(args.x.dim(1)) * DTypeSize(args.x.dtype());
  if (row_bytes == 0) return OkStatus();
  const int32_t* rows = args.rows.as<int32_t>();
  const char* x = static_cast<const char*>(args.x.data());
  char* out = static_cast<char*>(args.out.data());
  ForRows(cpu, args.rows.dim(0), args.out.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(out + static_cast<size_t>(i) * row_bytes,
                  x + static_cast<size_t>(rows[i]) * row_bytes, row_bytes);
    }
  });
  return OkStatus();
}

Status ScatterRows(CpuContext& cpu, const ScatterRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.out));
  LONGHAND_RETURN_IF_ERROR(CheckIndices("rows", args.rows, args.out.dim(0)));
  const int64_t width = args.x.dim(1);
  const int32_t* rows = args.rows.as<int32_t>();
  ForRows(cpu, args.rows.dim(0), args.x.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(args.x.as<float>() + i * width, width, args.out.as<float>() + rows[i] * width);
    }
  });
  return OkStatus();
}

Status RmsNorm(CpuContext& cpu, const RmsNormArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  const int64_t width = args.x.dim(1);
  const float* weight = args.weight.as<float>();
  ForRows(cpu, args.x.dim(0), args.x.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = args.x.as<float>() + i * width;
      if (!args.residual.empty()) {
        float* residual = args.residual.as<float>() + i * width;
        cpu.rows.add(residual, x, width, residual);
        x = residual;
      }
      cpu.rows.rms_norm(x, weight, args.eps, width, args.out.as<float>() + i * width);
    }
  });
  return OkStatus();
}

Status Add(CpuContext& cpu, const AddArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  float* x = args.x.as<float>();
  const float* y = args.y.as<float>();
  const int64_t count = args.x.num_elements();
  ForRows(cpu, count, count, [&](int64_t begin, int64_t end, int) {
    cpu.rows.add(x + begin, y + begin, end - begin, x + begin);
  });
  return OkStatus();
}

Status QuantizeRows(CpuContext& cpu, const QuantizeRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.out));
  const int64_t width = args.x.dim(1);
  ForRows(cpu, args.x.dim(0), args.x.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = args.x.as<float>() + i * width;
      const RowScale scale(cpu.rows.largest(x, width), Fp8E4M3::kMax);
      args.scale.as<float>()[i] = scale.scale;
      cpu.rows.round_to_fp8(x, scale.inverse, width, args.out.as<float>() + i * width);
    }
  });
  return OkStatus();
}

Status SwiGlu(CpuContext& cpu, const SwiGluArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.out));
  const int64_t width = args.out.dim(1);
  ForRows(cpu, args.out.dim(0), args.gate_up.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* gate = args.gate_up.as<float>() + 2 * i * width;
      cpu.rows.swiglu(gate, gate + width, width, args.out.as<float>() + i * width);
    }
  });
  return OkStatus();
}

Status Gelu(CpuContext& cpu, const GeluArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  float* x = args.x.as<float>();
  const int64_t count = args.x.num_elements();
  ForRows(cpu, count, count,
          [&](int64_t begin, int64_t end, int) { cpu.rows.gelu(end - begin, x + begin); });
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
