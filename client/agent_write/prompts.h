// The prompts of plan-then-write.
#pragma once

#include <string>
#include <string_view>

namespace longhand::client {

// Asks for the outline of what `instruction` wishes.
std::string PlanPrompt(std::string_view instruction);

// Asks for one section: `step` is its line of `plan`, `text` what was written before it. Values are
// never searched for placeholders: a user's "$PLAN$" stays.
std::string WritePrompt(std::string_view instruction,
                        std::string_view plan,
                        std::string_view text,
                        std::string_view step);

}  // namespace longhand::client
