#include "common/agent_write/template_text.h"

#include <algorithm>

namespace longhand {

std::string FillTemplate(std::string_view text,
                         const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string out;
  for (size_t at; (at = text.find('$')) != std::string_view::npos;) {
    out += text.substr(0, at);
    text.remove_prefix(at);
    const auto found = std::find_if(values.begin(), values.end(), [&](const auto& value) {
      return text.starts_with(value.first);
    });
    out += found == values.end() ? "$" : found->second;
    text.remove_prefix(found == values.end() ? 1 : found->first.size());
  }
  out += text;
  return out;
}

}  // namespace longhand
