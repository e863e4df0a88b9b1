#include "client/picture.h"

#include <absl/strings/escaping.h>

namespace longhand::client {

std::string PictureType(std::string_view bytes) {
  if (bytes.substr(0, 4) == "\x89PNG") return "image/png";
  if (bytes.substr(0, 4) == "RIFF") return "image/webp";
  if (bytes.substr(0, 3) == "GIF") return "image/gif";
  return "image/jpeg";
}

std::string DataUrl(const Picture& picture) {
  return "data:" + picture.type + ";base64," + absl::Base64Escape(picture.bytes);
}

}  // namespace longhand::client
