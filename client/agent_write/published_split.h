// How LongWriter-V's published code splits a plan into sections.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longhand::client {

// What Python's re.findall gives for (Section \d+[^:]*:.*?)(?=Section \d+|$) with DOTALL, without
// white space at the ends; the plan's lines where it gives nothing. So "as in Section 1" within a
// line begins a section, a heading without a colon takes in the next one, and what stands before
// the first is dropped: ParseOutline does better.
std::vector<std::string> SplitAsPublished(std::string_view plan);

}  // namespace longhand::client
