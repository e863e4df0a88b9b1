// `longhand pull`: a model from the Hugging Face hub, or from a mirror of it.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int PullCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
