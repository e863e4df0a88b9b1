// Operations that move rows: embedding, gather, scatter.
#include <cstring>

#include "kernels/host_checks.h"
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {

namespace {

int32_t IdOf(const EmbeddingArgs& args, int64_t i) {
  const int64_t idx = args.history.rank() == 0 ? -1 : args.history_idx.as<int64_t>()[i];
  return idx < 0 ? args.ids.as<int32_t>()[i] : args.history.as<int32_t>()[idx];
}

}  // namespace

Status Embedding(const EmbeddingArgs& args) {
  const int64_t rows = args.table.dim(0), hidden_size = args.table.dim(1);
  WithFloatType(args.table.dtype(), [&](auto table_type) {
    WithFloatType(args.out.dtype(), [&](auto out_type) {
      using Out = decltype(out_type);
      const auto* table = args.table.as<decltype(table_type)>();
      Out* out = args.out.as<Out>();
      for (int64_t i = 0; i < args.ids.dim(0); ++i) {
        const int64_t row = IdOf(args, i) - args.first_id;
        const bool here = row >= 0 && row < rows;
        for (int64_t j = 0; j < hidden_size; ++j) {
          out[i * hidden_size + j] =
              Out(here ? static_cast<float>(table[row * hidden_size + j]) : 0.0f);
        }
      }
    });
  });
  return OkStatus();
}

Status GatherRows(const GatherRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckIndices("rows", args.rows, args.x.dim(0)));
  const size_t row_bytes = static_cast<size_t>(args.x.dim(1)) * DTypeSize(args.x.dtype());
  const int32_t* rows = args.rows.as<int32_t>();
  if (row_bytes == 0) return OkStatus();
  for (int64_t i = 0; i < args.rows.dim(0); ++i) {
    std::memcpy(static_cast<char*>(args.out.data()) + static_cast<size_t>(i) * row_bytes,
                static_cast<const char*>(args.x.data()) + static_cast<size_t>(rows[i]) * row_bytes,
                row_bytes);
  }
  return OkStatus();
}

Status ScatterRows(const ScatterRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckIndices("rows", args.rows, args.out.dim(0)));
  const int64_t width = args.x.dim(1);
  const int32_t* rows = args.rows.as<int32_t>();
  WithFloatType(args.x.dtype(), [&](auto x_type) {
    WithFloatType(args.out.dtype(), [&](auto out_type) {
      using Out = decltype(out_type);
      const auto* x = args.x.as<decltype(x_type)>();
      Out* out = args.out.as<Out>();
      for (int64_t i = 0; i < args.rows.dim(0); ++i) {
        for (int64_t j = 0; j < width; ++j) {
          out[rows[i] * width + j] = Out(static_cast<float>(x[i * width + j]));
        }
      }
    });
  });
  return OkStatus();
}

}  // namespace longhand::kernels::reference
