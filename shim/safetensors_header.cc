#include "shim/safetensors_header.h"

#include <memory>

#include "shim/handle.h"
#include "shim/longhand_shim.h"

namespace longhand::shim {
namespace {

std::string ToString(longhand_shim_slice slice) {
  return {reinterpret_cast<const char*>(slice.data), slice.size};
}

}  // namespace

Result<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view file) {
  longhand_shim_safetensors* raw = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_safetensors_new(Borrow(file), &raw, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  const std::unique_ptr<longhand_shim_safetensors, Free<longhand_shim_safetensors_free>> handle(
      raw);

  size_t num_tensors = 0;
  const longhand_shim_tensor* tensors =
      longhand_shim_safetensors_tensors(handle.get(), &num_tensors);
  std::vector<SafetensorsEntry> entries;
  entries.reserve(num_tensors);
  for (size_t i = 0; i < num_tensors; ++i) {
    const longhand_shim_tensor& tensor = tensors[i];
    entries.push_back({.name = ToString(tensor.name),
                       .dtype = ToString(tensor.dtype),
                       .shape = {tensor.shape, tensor.shape + tensor.rank},
                       .begin = static_cast<int64_t>(tensor.begin),
                       .end = static_cast<int64_t>(tensor.end)});
  }
  return entries;
}

}  // namespace longhand::shim
