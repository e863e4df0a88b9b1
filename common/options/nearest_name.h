// What somebody meant who mistyped a name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace longhand {

// The name that takes the fewest edits (a letter more, less, or another) to be reached from
// `given`: at most two, and fewer than a third of its letters. Nothing for a name that is known.
std::optional<std::string> NearestName(std::string_view given,
                                       const std::vector<std::string>& known);

}  // namespace longhand
