#include "common/agent_write/prompts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/agent_write/templates.h"

namespace longhand {
namespace {

using Placeholders = std::vector<std::pair<std::string_view, std::string_view>>;  // name, value

std::string Fill(std::string_view text, const Placeholders& placeholders) {
  std::string out;
  for (size_t at; (at = text.find('$')) != std::string_view::npos;) {
    out += text.substr(0, at);
    text.remove_prefix(at);
    const auto found =
        std::find_if(placeholders.begin(), placeholders.end(),
                     [&](const auto& placeholder) { return text.starts_with(placeholder.first); });
    out += found == placeholders.end() ? "$" : found->second;
    text.remove_prefix(found == placeholders.end() ? 1 : found->first.size());
  }
  out += text;
  return out;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// As "5000" or "5,000", and no part of a longer number.
bool NamesNumber(std::string_view text, int64_t number) {
  const std::string wanted = std::to_string(number);
  for (size_t at = 0; at < text.size();) {
    std::string digits;
    for (; at < text.size() && (IsDigit(text[at]) || (text[at] == ',' && !digits.empty())); ++at) {
      if (IsDigit(text[at])) digits += text[at];
    }
    if (digits == wanted) return true;
    if (digits.empty()) ++at;
  }
  return false;
}

}  // namespace

std::string PlanPrompt(std::string_view instruction) {
  return Fill(kPlanTemplate, {{"$INST$", instruction}});
}

std::string WithLength(std::string_view instruction, int64_t num_words) {
  if (NamesNumber(instruction, num_words)) return std::string(instruction);
  return Fill(kLengthTemplate, {{"$INST$", instruction}, {"$WORDS$", std::to_string(num_words)}});
}

std::string WritePrompt(std::string_view instruction,
                        std::string_view plan,
                        std::string_view text,
                        std::string_view step) {
  return Fill(kWriteTemplate,
              {{"$INST$", instruction}, {"$PLAN$", plan}, {"$TEXT$", text}, {"$STEP$", step}});
}

}  // namespace longhand
