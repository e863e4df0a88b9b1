// The writing page's parts: the files of this folder, embedded.
#pragma once

#include <string_view>

namespace longhand::http {

struct PagePart {
  std::string_view name;
  std::string_view content_type;
  std::string_view etag;
  std::string_view text;
};

// Null for what is no part of the page.
const PagePart* FindPagePart(std::string_view name);

}  // namespace longhand::http
