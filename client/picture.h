// A picture as a file has it.
#pragma once

#include <string>
#include <string_view>

namespace longhand::client {

struct Picture {
  std::string bytes;
  std::string type;  // "image/png"
};

// By its first bytes; JPEG where they say nothing.
std::string PictureType(std::string_view bytes);

inline Picture PictureOf(std::string bytes) {
  std::string type = PictureType(bytes);
  return {std::move(bytes), std::move(type)};
}

// "data:image/png;base64,..."
std::string DataUrl(const Picture& picture);

}  // namespace longhand::client
