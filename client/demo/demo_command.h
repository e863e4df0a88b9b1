// `longhand demo`: the bundled model, a picture, a story, at once.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int DemoCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
