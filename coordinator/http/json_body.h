// A request's body as JSON. Small parts take many times their bytes once they are parsed: what a
// body may take is bounded by its size.
#pragma once

#include <boost/json.hpp>
#include <string_view>

#include "common/status.h"

namespace longhand::http {

// What any body may take, and what for each of its bytes. A text that is written in escapes takes
// three, and a list of one-digit numbers up to thirty-six.
inline constexpr size_t kParsedBytes = 64 << 20;
inline constexpr size_t kParsedBytesPerByte = 4;

// kInvalidArgument for what is no object, has more than 32 levels, or takes more than it may.
Result<boost::json::object> ParseJsonBody(std::string_view body);

}  // namespace longhand::http
