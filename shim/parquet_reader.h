// ParquetReader: the rows of a Parquet file, one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "shim/handle.h"
#include "shim/longhand_shim.h"

namespace longhand::shim {

struct ParquetRow {
  std::string_view json;                // an object; a field of bytes is {"blob": i}
  std::vector<std::string_view> blobs;  // that such fields name
};

// One thread at a time. Snappy, zstd, gzip and plain pages. In memory are one row and, of each
// column, one page, which the format bounds at 2 GiB and Hugging Face's files keep near 100 rows.
class ParquetReader {
 public:
  // kInvalidArgument, naming the file, where it is no Parquet file or a broken one;
  // kUnimplemented where it is encrypted or packed in another way.
  static Result<ParquetReader> Open(const std::filesystem::path& path);

  int64_t num_rows() const { return longhand_shim_parquet_num_rows(reader_.get()); }
  // Valid until the next call. Nothing after the last row.
  Result<std::optional<ParquetRow>> Next();

 private:
  using Handle = std::unique_ptr<longhand_shim_parquet, Free<longhand_shim_parquet_free>>;

  ParquetReader(std::string name, Handle reader)
      : name_(std::move(name)), reader_(std::move(reader)) {}

  std::string name_;
  Handle reader_;
};

}  // namespace longhand::shim
