#include "shim/handle.h"

#include <fstream>
#include <system_error>

namespace longhand::shim {

Status TakeStatus(int code, longhand_shim_bytes error) {
  if (code == 0) return OkStatus();
  Status status(static_cast<StatusCode>(code),
                std::string(reinterpret_cast<const char*>(error.data), error.size));
  longhand_shim_free_bytes(error);
  return status;
}

Result<std::optional<std::string>> ReadFileIfPresent(const std::filesystem::path& path,
                                                     uint64_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::optional<std::string>();
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return InvalidArgument(path.string(), " cannot be read: ", error.message());
  if (size > max_bytes) {
    return InvalidArgument(path.string(), " has ", size, " bytes; at most ", max_bytes,
                           " are read");
  }
  std::ifstream file(path, std::ios::binary);
  std::string content(size, '\0');
  if (!file.read(content.data(), static_cast<std::streamsize>(size))) {
    return InvalidArgument(path.string(), " cannot be read to its end at byte ", size);
  }
  return std::optional<std::string>(std::move(content));
}

Result<std::string> ReadFile(const std::filesystem::path& path, uint64_t max_bytes) {
  LONGHAND_ASSIGN_OR_RETURN(std::optional<std::string> content, ReadFileIfPresent(path, max_bytes));
  if (!content.has_value()) return NotFound(path.string(), " does not exist");
  return *std::move(content);
}

}  // namespace longhand::shim
