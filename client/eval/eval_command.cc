#include "client/eval/eval_command.h"

#include <cstdio>

#include "common/options/command_line.h"

namespace longhand::client {

int EvalCommand(const std::vector<std::string>& args) {
  const std::vector<std::string> rest(args.empty() ? args.end() : args.begin() + 1, args.end());
  if (!args.empty() && args[0] == "mmlongbench-write") return MmLongBenchCommand(rest);
  if (!args.empty() && args[0] == "longwrite-v-ruler") return RulerCommand(rest);
  const bool wants_help = !args.empty() && (args[0] == "--help" || args[0] == "-h");
  std::fprintf(wants_help ? stdout : stderr,
               "Usage: longhand eval BENCHMARK [FLAGS]\n\n"
               "  mmlongbench-write   length and quality of long texts about pictures\n"
               "  longwrite-v-ruler   how long texts are that were asked for at given lengths\n\n"
               "`longhand eval BENCHMARK --help` lists the flags.\n");
  return wants_help ? kExitOk : kExitUsage;
}

}  // namespace longhand::client
