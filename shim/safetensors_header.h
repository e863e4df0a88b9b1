// The header of a safetensors file: which tensors it holds, and where.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace longhand::shim {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // as in the file: "BF16", "F16", "F32", "F8_E4M3", "I32", ...
  std::vector<int64_t> shape;  // empty for a scalar
  int64_t begin = 0;           // bytes from the start of the file
  int64_t end = 0;
};

// `file` is the whole file, mapped; only its header is read. Entries come in the order of their
// data. kInvalidArgument naming the tensor and the numbers for holes, overlaps, sizes that differ
// from shape and dtype, and files that are too short or too long. The caller adds the file's name.
Result<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view file);

}  // namespace longhand::shim
