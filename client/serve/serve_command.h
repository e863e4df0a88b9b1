// `longhand serve`: the cluster on one machine.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int ServeCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
