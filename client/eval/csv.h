#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longhand::client {

// One line of a CSV file (RFC 4180), with its newline.
std::string CsvLine(const std::vector<std::string>& cells);

}  // namespace longhand::client
