#include "client/agent_write/prompts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "client/agent_write/templates.h"

namespace longhand::client {
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

}  // namespace

std::string PlanPrompt(std::string_view instruction) {
  return Fill(kPlanTemplate, {{"$INST$", instruction}});
}

std::string WritePrompt(std::string_view instruction,
                        std::string_view plan,
                        std::string_view text,
                        std::string_view step) {
  return Fill(kWriteTemplate,
              {{"$INST$", instruction}, {"$PLAN$", plan}, {"$TEXT$", text}, {"$STEP$", step}});
}

}  // namespace longhand::client
