// MappedFile: a file's bytes, mapped read-only. Pages come in when they are read, and Release()
// lets them go again, so that reading a checkpoint never holds all of it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "common/status.h"

namespace longhand {

class MappedFile {
 public:
  // kNotFound when there is no such file, kInvalidArgument when it cannot be mapped.
  static Result<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::string_view bytes() const { return {data_, size_}; }
  // The range will not be read again soon.
  void Release(size_t begin, size_t end) const;

 private:
  MappedFile(const char* data, size_t size) : data_(data), size_(size) {}

  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace longhand
