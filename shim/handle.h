// What the C++ classes of this room share: borrowing, owning and failing across the C interface.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "shim/longhand_shim.h"

namespace longhand::shim {

inline longhand_shim_slice Borrow(std::string_view bytes) {
  // Not null even when empty: to the C interface a null slice is an absent file.
  return {reinterpret_cast<const uint8_t*>(bytes.data() == nullptr ? "" : bytes.data()),
          bytes.size()};
}

inline longhand_shim_slice BorrowOptional(const std::optional<std::string>& bytes) {
  return bytes.has_value() ? Borrow(std::string_view(*bytes)) : longhand_shim_slice{nullptr, 0};
}

// Makes a Status of what a shim function returned, and frees the message.
Status TakeStatus(int code, longhand_shim_bytes error);

// The whole file. kNotFound when there is none; kInvalidArgument over `max_bytes`.
Result<std::string> ReadFile(const std::filesystem::path& path, uint64_t max_bytes);

// As above, but a missing file is an empty optional.
Result<std::optional<std::string>> ReadFileIfPresent(const std::filesystem::path& path,
                                                     uint64_t max_bytes);

// Calls a free function of the C interface: std::unique_ptr<T, Free<longhand_shim_x_free>>.
template <auto function>
struct Free {
  template <typename T>
  void operator()(T* handle) const {
    function(handle);
  }
};

}  // namespace longhand::shim
