// Where this program lies; its companions lie beside it, and what comes with it nearby.
#pragma once

#include <filesystem>
#include <string>

namespace longhand::client {

inline std::filesystem::path ExecutablePath() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored);
}

// What comes with the program: where packages install it, or the repository's demo/, seen from
// build/PRESET/bin/longhand.
inline std::string BundledPath(const char* name) {
  const std::filesystem::path programs = ExecutablePath().parent_path();
  const std::filesystem::path installed = programs / "../share/longhand" / name;
  std::error_code ignored;
  const bool is_installed = std::filesystem::exists(installed, ignored);
  return (is_installed ? installed : programs / "../../../demo" / name).lexically_normal().string();
}

}  // namespace longhand::client
