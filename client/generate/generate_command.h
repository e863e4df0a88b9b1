// `longhand generate`: one request, streamed to the terminal.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int GenerateCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
