#include "common/agent_write/outline.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/shorten.h"

namespace longhand {
namespace {

constexpr std::string_view kSection = "Section ";
constexpr std::string_view kWordCount = "Word Count";
constexpr size_t kExcerptBytes = 60;

// The text without the given characters at its ends.
std::string_view Strip(std::string_view text, std::string_view front, std::string_view back) {
  const size_t first = text.find_first_not_of(front);
  if (first == std::string_view::npos) return {};
  text.remove_prefix(first);
  return text.substr(0, text.find_last_not_of(back) + 1);
}

// The digits that `text` starts with, as a number; thousands may be set off by commas. Stops
// growing past every limit.
std::optional<int64_t> LeadingNumber(std::string_view text, size_t* length) {
  int64_t value = 0;
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if (text[at] >= '0' && text[at] <= '9') {
      value = std::min<int64_t>(value * 10 + (text[at] - '0'), 1'000'000'000);
    } else if (text[at] != ',' || at == 0) {
      break;
    }
  }
  *length = at;
  return at == 0 ? std::nullopt : std::optional(value);
}

// k of "Section k -", "Section k:" and their like at the start of a line.
std::optional<int64_t> SectionNumber(std::string_view line) {
  if (!line.starts_with(kSection)) return std::nullopt;
  line.remove_prefix(kSection.size());
  size_t length = 0;
  const std::optional<int64_t> number = LeadingNumber(line, &length);
  line.remove_prefix(length);
  line = Strip(line, " *", "");
  for (const std::string_view mark : {"-", ":", "–", "—", "："}) {
    if (number && line.starts_with(mark)) return number;
  }
  return std::nullopt;
}

// Where the digits after the last "Word Count" begin; npos: there are none.
size_t FindWordCount(std::string_view text) {
  const size_t at = text.rfind(kWordCount);
  return at == std::string_view::npos ? at : text.find_first_of("0123456789", at);
}

// n of "Word Count: n" anywhere in a line.
std::optional<int64_t> WordCount(std::string_view line) {
  line.remove_prefix(std::min(FindWordCount(line), line.size()));
  size_t length = 0;
  return LeadingNumber(line, &length);
}

// The beginning of what cannot be read, on one line and in whole characters.
std::string Excerpt(std::string_view text) {
  std::string out = Shortened(Strip(text, " \t\r\n", " \t\r\n"), kExcerptBytes);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; }, ' ');
  return "'" + out + "'";
}

Status CheckCount(const OutlineSection& section, size_t number) {
  if (section.num_words == 0)
    return InvalidArgument("section ", number, " has no word count: ", Excerpt(section.step));
  if (section.num_words > kMaxSectionWords)
    return InvalidArgument("section ", number, " is to have ", section.num_words,
                           " words; at most ", kMaxSectionWords, " are allowed");
  return OkStatus();
}

}  // namespace

Result<std::vector<OutlineSection>> ParseOutline(std::string_view plan) {
  std::vector<OutlineSection> sections;
  for (std::string_view rest = plan; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = Strip(rest.substr(0, end), " \t\r*#->", " \t\r*");
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (const std::optional<int64_t> number = SectionNumber(line)) {
      if (!sections.empty()) LONGHAND_RETURN_IF_ERROR(CheckCount(sections.back(), sections.size()));
      if (*number != static_cast<int64_t>(sections.size()) + 1)
        return InvalidArgument("section ", *number, " stands where section ", sections.size() + 1,
                               " was expected");
      if (sections.size() == kMaxSections)
        return InvalidArgument("it has more than ", kMaxSections, " sections");
      sections.push_back({.step = std::string(line)});
    } else if (!sections.empty() && sections.back().num_words == 0 && !line.empty()) {
      sections.back().step.append("\n").append(line);
    } else {
      continue;
    }
    sections.back().num_words = WordCount(line).value_or(0);
  }
  if (sections.empty())
    return InvalidArgument("no line begins with 'Section 1 -'; it begins with ", Excerpt(plan));
  LONGHAND_RETURN_IF_ERROR(CheckCount(sections.back(), sections.size()));
  return sections;
}

std::vector<int64_t> ShareWords(const std::vector<OutlineSection>& outline, int64_t total) {
  int64_t planned = 0;
  for (const OutlineSection& section : outline) planned += section.num_words;
  std::vector<int64_t> shares;
  std::vector<std::pair<int64_t, size_t>> remainders;  // the largest first, then in their order
  int64_t left = total;
  for (size_t i = 0; i < outline.size(); ++i) {
    const int64_t product = total * outline[i].num_words;
    shares.push_back(product / planned);
    remainders.emplace_back(-(product % planned), i);
    left -= shares.back();
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; i < static_cast<size_t>(left); ++i) ++shares[remainders[i].second];
  for (int64_t& share : shares) {
    if (share > 0) continue;
    int64_t& largest = *std::max_element(shares.begin(), shares.end());
    if (largest > 1) --largest;
    share = 1;
  }
  return shares;
}

std::string WithWordCount(std::string_view step, int64_t num_words) {
  const size_t at = FindWordCount(step);
  if (at == std::string_view::npos) return std::string(step);
  size_t length = 0;
  if (LeadingNumber(step.substr(at), &length) == num_words) return std::string(step);
  return std::string(step.substr(0, at))
      .append(std::to_string(num_words))
      .append(step.substr(at + length));
}

}  // namespace longhand
