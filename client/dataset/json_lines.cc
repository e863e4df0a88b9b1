#include "client/dataset/json_lines.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace longhand::client {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

Status MakeFolderOf(const fs::path& path) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  return error ? Internal("cannot make ", path.parent_path().string(), ": ", error.message())
               : OkStatus();
}

// The bytes up to the last newline.
Result<uintmax_t> WholeLines(const fs::path& path, uintmax_t size) {
  std::ifstream file(path, std::ios::binary);
  for (uintmax_t end = size; end > 0; --end) {
    file.seekg(static_cast<std::streamoff>(end - 1));
    const int last = file.get();
    if (last == '\n') return end;
    if (last == std::ifstream::traits_type::eof()) return Internal("cannot read ", path.string());
  }
  return uintmax_t{0};
}

Status CutHalfLine(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return OkStatus();  // there is none
  LONGHAND_ASSIGN_OR_RETURN(const uintmax_t whole, WholeLines(path, size));
  if (whole < size) fs::resize_file(path, whole, error);
  return error ? Internal("cannot cut ", path.string(), ": ", error.message()) : OkStatus();
}

}  // namespace

Result<JsonLinesReader> JsonLinesReader::Open(const fs::path& path) {
  JsonLinesReader reader;
  reader.path_ = path;
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    return InvalidArgument(path.string(), " is a directory; it must be a file of JSON lines");
  reader.file_.open(path, std::ios::binary);
  if (!reader.file_) return NotFound("cannot read ", path.string(), ": ", std::strerror(errno));
  return reader;
}

Result<std::optional<json::object>> JsonLinesReader::Next() {
  for (std::string text; std::getline(file_, text);) {
    ++line_;
    was_whole_ = !file_.eof();
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    json::error_code error;
    json::value value = json::parse(text, error);
    if (error || !value.is_object())
      return InvalidArgument(path_.string(), ":", line_, ": expected a JSON object",
                             error ? ", " + error.message() : "");
    return std::optional(std::move(value.get_object()));
  }
  return std::optional<json::object>();
}

Result<JsonLinesWriter> JsonLinesWriter::Append(const fs::path& path) {
  LONGHAND_RETURN_IF_ERROR(MakeFolderOf(path));
  LONGHAND_RETURN_IF_ERROR(CutHalfLine(path));
  JsonLinesWriter writer;
  writer.path_ = path;
  writer.file_.open(path, std::ios::binary | std::ios::app);
  if (!writer.file_) return Internal("cannot write ", path.string(), ": ", std::strerror(errno));
  return writer;
}

Status JsonLinesWriter::Add(const json::object& object) {
  file_ << json::serialize(object) << '\n' << std::flush;
  return file_ ? OkStatus() : Internal("cannot write ", path_.string(), ": ", std::strerror(errno));
}

Status WriteWhole(const fs::path& path, const std::string& content) {
  LONGHAND_RETURN_IF_ERROR(MakeFolderOf(path));
  const fs::path temporary = path.string() + "." + std::to_string(getpid()) + ".tmp";
  std::ofstream file(temporary, std::ios::binary);
  file << content;
  file.close();
  std::error_code error;
  if (file) fs::rename(temporary, path, error);
  if (file && !error) return OkStatus();
  return Internal("cannot write ", path.string(), ": ",
                  error ? error.message() : std::strerror(errno));
}

}  // namespace longhand::client
