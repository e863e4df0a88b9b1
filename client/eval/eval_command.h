// `longhand eval mmlongbench-write|longwrite-v-ruler`: LongWriter-V's benchmarks.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

int EvalCommand(const std::vector<std::string>& args);

int MmLongBenchCommand(const std::vector<std::string>& args);
int RulerCommand(const std::vector<std::string>& args);

}  // namespace longhand::client
