// `longhand status`: what a running cell says of itself.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int StatusCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
