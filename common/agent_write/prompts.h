// The prompts of plan-then-write.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longhand {

// Asks for the outline of what `instruction` wishes.
std::string PlanPrompt(std::string_view instruction);

// The instruction with the length that the whole text is to have, unless it names that number
// itself.
std::string WithLength(std::string_view instruction, int64_t num_words);

// Asks for one section: `step` is its line of `plan`, `text` what was written before it. Values are
// never searched for placeholders: a user's "$PLAN$" stays.
std::string WritePrompt(std::string_view instruction,
                        std::string_view plan,
                        std::string_view text,
                        std::string_view step);

}  // namespace longhand
