// Prompts with placeholders.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace longhand {

// Every placeholder's value; values are not searched for placeholders.
std::string FillTemplate(std::string_view text,
                         const std::vector<std::pair<std::string_view, std::string_view>>& values);

}  // namespace longhand
