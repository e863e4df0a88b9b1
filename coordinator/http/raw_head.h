// What is checked of a request's head before a parser sees it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace longhand::http {

// Why the lines of `head`, which ends with an empty one, are not those of a careful client; nothing
// when they are.
std::optional<std::string> FindFaultInLines(std::string_view head);

// Why a field has a value that cannot be, or stands beside one that contradicts it: Host,
// Content-Length and Transfer-Encoding. `lines` are those after the request line.
std::optional<std::string> FindFaultInFraming(std::string_view lines, int minor_version);

}  // namespace longhand::http
