// The files in templates/, built into the program.
#pragma once

#include <string_view>

namespace longhand {

extern const std::string_view kLengthTemplate;  // $INST$ $WORDS$
extern const std::string_view kPlanTemplate;    // $INST$
extern const std::string_view kWriteTemplate;   // $INST$ $PLAN$ $TEXT$ $STEP$

}  // namespace longhand
