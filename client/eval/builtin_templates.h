// The files in templates/, built into the program, without their last newlines.
#pragma once

#include <string_view>

namespace longhand::client {

extern const std::string_view kJudgeTemplate;
extern const std::string_view kCaptionTemplate;
extern const std::string_view kCaptionWriteTemplate;

}  // namespace longhand::client
