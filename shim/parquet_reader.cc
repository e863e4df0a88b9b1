#include "shim/parquet_reader.h"

#include <utility>

namespace longhand::shim {
namespace {

std::string_view View(longhand_shim_slice slice) {
  return {reinterpret_cast<const char*>(slice.data), slice.size};
}

}  // namespace

Result<ParquetReader> ParquetReader::Open(const std::filesystem::path& path) {
  longhand_shim_parquet* raw = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_parquet_new(Borrow(path.native()), &raw, &error);
  if (Status status = TakeStatus(code, error); !status.ok())
    return status.WithContext(path.string());
  return ParquetReader(path.string(), Handle(raw));
}

Result<std::optional<ParquetRow>> ParquetReader::Next() {
  longhand_shim_parquet_row row{};
  longhand_shim_bytes error{};
  const int code = longhand_shim_parquet_next(reader_.get(), &row, &error);
  if (Status status = TakeStatus(code, error); !status.ok()) return status.WithContext(name_);
  if (row.json.size == 0) return std::optional<ParquetRow>();
  ParquetRow out{.json = View(row.json)};
  for (size_t i = 0; i < row.num_blobs; ++i) out.blobs.push_back(View(row.blobs[i]));
  return std::optional<ParquetRow>(std::move(out));
}

}  // namespace longhand::shim
