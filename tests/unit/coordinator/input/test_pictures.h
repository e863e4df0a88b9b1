// The picture files of tests/data, as bytes, and what the reference makes of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "common/check.h"
#include "coordinator/input/image_decoder.h"

namespace longhand::input {

inline std::filesystem::path PictureFolder() {
  return std::filesystem::path(LONGHAND_TEST_DATA) / "pictures";
}
inline std::filesystem::path RecordedPictureFolder() {
  return std::filesystem::path(LONGHAND_TEST_DATA) / "recording" / "images";
}

inline std::vector<uint8_t> ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  LONGHAND_CHECK(in.good()) << path.string();
  return {std::istreambuf_iterator<char>(in), {}};
}

// Every picture file of a folder, in the order of their names.
inline std::vector<std::filesystem::path> PictureFiles(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".ppm") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  LONGHAND_CHECK(!files.empty()) << folder.string();
  return files;
}

// A P6 file as tools/oracle/odd_pictures.py writes it.
inline RgbImage ReadPpm(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string magic;
  RgbImage image;
  int largest = 0;
  in >> magic >> image.width >> image.height >> largest;
  LONGHAND_CHECK(in.good() && magic == "P6" && largest == 255) << path.string();
  in.get();
  image.pixels.assign(std::istreambuf_iterator<char>(in), {});
  return image;
}

}  // namespace longhand::input
