// `longhand write`: plan, then sections.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int WriteCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
