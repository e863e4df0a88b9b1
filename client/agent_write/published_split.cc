#include "client/agent_write/published_split.h"

#include <algorithm>

#include "common/trim.h"

namespace longhand::client {
namespace {

constexpr std::string_view kSection = "Section ";
constexpr std::string_view kSpace = " \t\r\n\v\f";

// The first "Section k" from `at` on.
size_t FindSection(std::string_view text, size_t at) {
  for (; (at = text.find(kSection, at)) != std::string_view::npos; ++at) {
    const size_t digit = at + kSection.size();
    if (digit < text.size() && text[digit] >= '0' && text[digit] <= '9') return at;
  }
  return at;
}

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end), kSpace);
    if (!line.empty()) lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

std::vector<std::string> SplitAsPublished(std::string_view plan) {
  std::vector<std::string> sections;
  size_t begin = FindSection(plan, 0);
  while (begin != std::string_view::npos) {
    const size_t colon = plan.find(':', begin);
    if (colon == std::string_view::npos) break;
    const size_t end = std::min(FindSection(plan, colon + 1), plan.size());
    sections.emplace_back(Trim(plan.substr(begin, end - begin), kSpace));
    begin = FindSection(plan, end);
  }
  return sections.empty() ? Lines(plan) : sections;
}

}  // namespace longhand::client
