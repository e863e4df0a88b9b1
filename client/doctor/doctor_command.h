// `longhand doctor`: whether this machine can serve, and what to do where it cannot.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int DoctorCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
