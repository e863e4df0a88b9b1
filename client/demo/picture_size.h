// How large a picture is, from its header.
#pragma once

#include <optional>
#include <string_view>

namespace longhand::client {

struct PictureSize {
  int width = 0;
  int height = 0;
};

// Of PNG and JPEG files; nothing of others and of broken ones, which the server judges.
std::optional<PictureSize> ReadPictureSize(std::string_view file);

}  // namespace longhand::client
