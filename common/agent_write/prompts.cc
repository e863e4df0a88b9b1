#include "common/agent_write/prompts.h"

#include "common/agent_write/template_text.h"
#include "common/agent_write/templates.h"

namespace longhand {
namespace {

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
  return FillTemplate(kPlanTemplate, {{"$INST$", instruction}});
}

std::string WithLength(std::string_view instruction, int64_t num_words) {
  if (NamesNumber(instruction, num_words)) return std::string(instruction);
  return FillTemplate(kLengthTemplate,
                      {{"$INST$", instruction}, {"$WORDS$", std::to_string(num_words)}});
}

std::string WritePrompt(std::string_view instruction,
                        std::string_view plan,
                        std::string_view text,
                        std::string_view step) {
  return FillTemplate(
      kWriteTemplate,
      {{"$INST$", instruction}, {"$PLAN$", plan}, {"$TEXT$", text}, {"$STEP$", step}});
}

}  // namespace longhand
