// `longhand bench serve`: how fast a server answers, ours or any with OpenAI's endpoints.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int BenchCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
