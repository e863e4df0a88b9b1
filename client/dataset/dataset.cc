#include "client/dataset/dataset.h"

#include <absl/strings/escaping.h>

#include "client/dataset/dataset_files.h"
#include "client/generate/chat_file.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kPictureFields[] = {"images", "image_paths", "image"};

Result<Picture> PictureOfCell(const json::value& cell, const shim::ParquetRow& row) {
  const json::value* bytes = &cell;
  const json::object* object = cell.if_object();
  if (object != nullptr && object->contains("bytes")) bytes = &object->at("bytes");
  const json::value* blob = bytes->is_object() ? bytes->get_object().if_contains("blob") : nullptr;
  const int64_t index = blob != nullptr && blob->is_int64() ? blob->get_int64() : -1;
  if (index < 0 || index >= static_cast<int64_t>(row.blobs.size()))
    return InvalidArgument("a picture has no bytes; it must be embedded in the file");
  return PictureOf(std::string(row.blobs[static_cast<size_t>(index)]));
}

template <typename Read>
Status TakePictures(const json::object& fields, std::vector<Picture>* pictures, const Read& read) {
  for (const char* name : kPictureFields) {
    const auto field = fields.find(name);
    if (field == fields.end()) continue;
    json::array one;
    if (!field->value().is_array() && !field->value().is_null()) one.push_back(field->value());
    for (const json::value& cell : field->value().is_array() ? field->value().get_array() : one) {
      Result<Picture> picture = read(cell);
      if (!picture.ok()) return picture.status();
      pictures->push_back(std::move(*picture));
    }
  }
  return OkStatus();
}

Result<DatasetRow> RowOfParquet(const shim::ParquetRow& row) {
  json::error_code error;
  json::value value = json::parse(row.json, error);
  if (error || !value.is_object()) return Internal("a row is no JSON object");
  DatasetRow out{.fields = std::move(value.get_object())};
  LONGHAND_RETURN_IF_ERROR(TakePictures(out.fields, &out.pictures, [&](const json::value& cell) {
    return PictureOfCell(cell, row);
  }));
  for (const char* name : kPictureFields) out.fields.erase(name);
  return out;
}

Result<DatasetRow> RowOfLine(json::object fields, const fs::path& folder) {
  DatasetRow out{.fields = std::move(fields)};
  LONGHAND_RETURN_IF_ERROR(
      TakePictures(out.fields, &out.pictures, [&](const json::value& cell) -> Result<Picture> {
        if (!cell.is_string()) return InvalidArgument("a picture must be a path or a data URL");
        return ReadPicture(std::string(cell.get_string()), folder);
      }));
  return out;
}

}  // namespace

Result<Picture> ReadPicture(const std::string& source, const fs::path& folder) {
  if (source.rfind("data:", 0) != 0) {
    LONGHAND_ASSIGN_OR_RETURN(std::string bytes, ReadFile(folder / source));
    return PictureOf(std::move(bytes));
  }
  const size_t comma = source.find(";base64,");
  std::string bytes;
  if (comma == std::string::npos || !absl::Base64Unescape(source.substr(comma + 8), &bytes))
    return InvalidArgument("a data URL must have the form data:image/...;base64,...");
  return PictureOf(std::move(bytes));
}

Result<Dataset> Dataset::Open(const std::string& data,
                              const std::string& revision,
                              const fs::path& picture_folder) {
  LONGHAND_ASSIGN_OR_RETURN(std::vector<fs::path> files, FindDatasetFiles(data, revision));
  Dataset dataset(std::move(files), picture_folder);
  LONGHAND_RETURN_IF_ERROR(dataset.OpenNextFile());
  return dataset;
}

Status Dataset::OpenNextFile() {
  const fs::path& path = files_[next_file_++];
  parquet_.reset();
  lines_.reset();
  if (path.extension() == ".parquet") {
    LONGHAND_ASSIGN_OR_RETURN(parquet_, shim::ParquetReader::Open(path));
  } else {
    LONGHAND_ASSIGN_OR_RETURN(lines_, JsonLinesReader::Open(path));
  }
  return OkStatus();
}

Result<std::optional<DatasetRow>> Dataset::Next() {
  while (true) {
    Result<std::optional<DatasetRow>> row = NextOfFile();
    if (!row.ok() || row->has_value() || next_file_ == files_.size()) return row;
    LONGHAND_RETURN_IF_ERROR(OpenNextFile());
  }
}

Result<std::optional<DatasetRow>> Dataset::NextOfFile() {
  if (parquet_) {
    LONGHAND_ASSIGN_OR_RETURN(const std::optional<shim::ParquetRow> row, parquet_->Next());
    if (!row) return std::optional<DatasetRow>();
    Result<DatasetRow> out = RowOfParquet(*row);
    if (!out.ok()) return out.status().WithContext(files_[next_file_ - 1].string());
    return std::optional(std::move(*out));
  }
  LONGHAND_ASSIGN_OR_RETURN(std::optional<json::object> fields, lines_->Next());
  if (!fields) return std::optional<DatasetRow>();
  Result<DatasetRow> out = RowOfLine(
      std::move(*fields), picture_folder_.empty() ? lines_->path().parent_path() : picture_folder_);
  if (!out.ok())
    return out.status().WithContext(lines_->path().string() + ":" + std::to_string(lines_->line()));
  return std::optional(std::move(*out));
}

}  // namespace longhand::client
