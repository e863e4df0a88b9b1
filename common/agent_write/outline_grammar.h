// The form that an outline is asked for in: what ParseOutline reads, a section a line.
#pragma once

#include <string>

namespace longhand {

// A grammar of Lark's. Sections count on from 1 to kMaxSections, each with a point of free text and
// a count of 1 to kMaxSectionWords. Marks, dashes and words around the counts are as free as the
// reader is; other lines are not.
std::string OutlineGrammar();

}  // namespace longhand
