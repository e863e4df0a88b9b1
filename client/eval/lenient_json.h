// JSON as language models write it.
#pragma once

#include <boost/json.hpp>
#include <string_view>

#include "common/status.h"

namespace longhand::client {

// The outermost object of a text: between its first { and its last }, code fences and all else
// passed over. Beside JSON it may be a Python literal or JSON5: quotes of either kind or none
// around keys, raw newlines in strings, trailing commas, comments, True and None. kInvalidArgument
// where there is none, saying where it stops making sense.
Result<boost::json::object> ParseLenientObject(std::string_view text);

}  // namespace longhand::client
