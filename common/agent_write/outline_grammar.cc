#include "common/agent_write/outline_grammar.h"

#include "common/agent_write/outline.h"

namespace longhand {
namespace {

// A line after its number. Longer points than any model was seen to make end in their count.
constexpr std::string_view kTerminals = R"lark(
MARK: /[#*\- ]{1,5}/
REST: /[ *]{0,3}(-|:|–|—|：)[^\n]{1,600}Word Count[^0-9\n]{1,12}([1-9][0-9]{0,3}|[1-9],[0-9]{3}|10000)[^\n0-9W]{0,20}/
BREAK: /\n{1,2}/
)lark";
static_assert(kMaxSectionWords == 10000);

}  // namespace

std::string OutlineGrammar() {
  std::string grammar = "start: s1\n";
  for (size_t k = 1; k <= kMaxSections; ++k) {
    const std::string number = std::to_string(k);
    grammar += "s" + number + ": MARK? \"Section " + number + "\" REST";
    if (k < kMaxSections) grammar += " (BREAK s" + std::to_string(k + 1) + ")?";
    grammar += "\n";
  }
  return grammar += kTerminals;
}

}  // namespace longhand
