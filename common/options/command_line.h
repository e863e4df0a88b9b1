// ParseCommandLine: one set of names for flags, LONGHAND_* environment variables and a YAML file
// (--config).
//
// All three become one argument list - file first, then environment, then flags - and the last word
// wins. Unknown keys of the file are errors that name the line. `--max-model-len` is
// LONGHAND_MAX_MODEL_LEN and `max-model-len:`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/status.h"

namespace CLI {
class App;
}

namespace longhand {

// Exit codes of every program.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Parses `args` (without the program's name) into the variables bound to `app`. Returns an exit
// code when the program is to end now: help was printed, or the usage was wrong and the reason
// printed.
std::optional<int> ParseCommandLine(CLI::App& app, const std::vector<std::string>& args);

// The arguments that the file says, as --key=value. kInvalidArgument naming file, line and key.
Result<std::vector<std::string>> ArgumentsFromYaml(const CLI::App& app, const std::string& path);

// Every setting that has a value, as --key=value: what another program with the same options is to
// be given.
std::vector<std::string> EffectiveArguments(const CLI::App& app);

}  // namespace longhand
