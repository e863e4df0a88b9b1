// Dataset: rows with pictures, out of Parquet files as the Hugging Face hub has them, or of JSON
// lines that name picture files.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "client/dataset/json_lines.h"
#include "client/picture.h"
#include "common/status.h"
#include "shim/parquet_reader.h"

namespace longhand::client {

struct DatasetRow {
  boost::json::object fields;  // without the pictures where these were bytes
  std::vector<Picture> pictures;
};

// One thread at a time. A row is read when it is asked for: memory holds one.
class Dataset {
 public:
  // As FindDatasetFiles says. Pictures are the column `images` or `image`: in Parquet
  // struct{bytes, path} or bytes; in JSON lines `images`, `image_paths` or `image`, of paths (from
  // `picture_folder`, else the file's) or data URLs.
  static Result<Dataset> Open(const std::string& data,
                              const std::string& revision,
                              const std::filesystem::path& picture_folder = {});

  // Nothing after the last.
  Result<std::optional<DatasetRow>> Next();

 private:
  Dataset(std::vector<std::filesystem::path> files, std::filesystem::path picture_folder)
      : files_(std::move(files)), picture_folder_(std::move(picture_folder)) {}

  Status OpenNextFile();
  Result<std::optional<DatasetRow>> NextOfFile();

  std::vector<std::filesystem::path> files_;
  std::filesystem::path picture_folder_;
  size_t next_file_ = 0;
  std::optional<shim::ParquetReader> parquet_;
  std::optional<JsonLinesReader> lines_;
};

// A path or a data URL.
Result<Picture> ReadPicture(const std::string& source, const std::filesystem::path& folder);

}  // namespace longhand::client
