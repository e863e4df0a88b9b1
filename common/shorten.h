#pragma once

#include <string>
#include <string_view>

namespace longhand {

// `text`, or what fits into `max_bytes` of it, whole characters of UTF-8, and "...".
inline std::string Shortened(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace longhand
