// `longhand agentwrite plan|write`: plans and texts for a file of instructions.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int AgentWriteCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
