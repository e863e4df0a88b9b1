// Text as JSON has it.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <string_view>

namespace longhand {

// In quotes. Bytes that are no UTF-8 are as they were.
inline std::string JsonText(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// All of a line before the message: an open object.
std::string JsonLogHead(std::chrono::system_clock::time_point time,
                        std::string_view level,
                        std::string_view program);

}  // namespace longhand
