// `longhand chaos`.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int ChaosCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
