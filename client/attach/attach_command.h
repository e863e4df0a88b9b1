// `longhand attach ID`: the stream of a request that a server has, from any of its events.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int AttachCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
