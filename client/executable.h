// Where this program lies; its companions lie beside it.
#pragma once

#include <filesystem>

namespace longhand::client {

inline std::filesystem::path ExecutablePath() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored);
}

}  // namespace longhand::client
