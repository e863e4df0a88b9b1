// `longhand export-training`: data sets for LLaMA-Factory.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int ExportTrainingCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
