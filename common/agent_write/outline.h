// The outline that a plan is: one section after another, with its word count.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace longhand {

inline constexpr size_t kMaxSections = 64;
inline constexpr int64_t kMaxSectionWords = 10000;

struct OutlineSection {
  std::string step;       // "Section k - Main Point: ... - Word Count: n"
  int64_t num_words = 0;  // what the plan asks for
};

// A section goes from a line that starts with "Section k" and a dash or colon to the end of the
// line with its word count; list marks and ** around it are dropped, other text is passed over. A
// "Section 1" within a line starts nothing. kInvalidArgument when there is no section, when numbers
// do not count on from 1, when a word count is missing or beyond 1 to kMaxSectionWords, and beyond
// kMaxSections.
Result<std::vector<OutlineSection>> ParseOutline(std::string_view plan);

// Words of the sections that add up to `total` and are as the outline's are to each other; what
// rounding leaves goes to the largest remainders. Each gets at least one, so that a total below the
// number of sections is exceeded.
std::vector<int64_t> ShareWords(const std::vector<OutlineSection>& outline, int64_t total);

// A section's step with another word count.
std::string WithWordCount(std::string_view step, int64_t num_words);

}  // namespace longhand
