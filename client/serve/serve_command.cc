#include "client/serve/serve_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/executable.h"
#include "client/serve/supervisor.h"
#include "common/hub_cache.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

// The coordinator makes shard plans, so it prints them too.
int DryRun(const SupervisorConfig& config) {
  const std::string program = (config.binaries / "longhand-coordinator").string();
  std::vector<std::string> args = {program};
  args.insert(args.end(), config.coordinator_args.begin(), config.coordinator_args.end());
  args.push_back("--dry-run");
  if (config.options.json) args.push_back("--json");
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  std::fprintf(stderr, "longhand serve: cannot run %s\n", program.c_str());
  return kExitFailed;
}

}  // namespace

int ServeCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Serves a checkpoint on this machine: a coordinator and its workers, restarted when they "
      "die.",
      "longhand serve"};
  SupervisorConfig config;
  std::string config_file;
  std::string ready_file;
  AddServeOptions(app, config.options);
  app.add_option("--ready-file", ready_file,
                 "Written when tokens can be made: addresses and process ids as JSON")
      ->configurable(false)
      ->take_last();
  app.add_option("--config", config_file, "YAML file with the same names")->take_last();
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  if (config.options.model.empty()) {
    std::fprintf(stderr,
                 "longhand serve: --model is required: a checkpoint directory, or org/name\n");
    return kExitUsage;
  }
  if (const auto model = LocateModel(config.options.model, config.options.revision); !model.ok()) {
    std::fprintf(stderr, "longhand serve: %s\n", model.status().message().c_str());
    return kExitFailed;
  }
  config.binaries = ExecutablePath().parent_path();
  config.coordinator_args = EffectiveArguments(app);
  config.ready_file = ready_file;
  if (config.options.dry_run) return DryRun(config);
  Result<Supervisor> supervisor = Supervisor::Create(std::move(config));
  if (!supervisor.ok()) {
    std::fprintf(stderr, "longhand serve: %s\n", supervisor.status().message().c_str());
    return kExitFailed;
  }
  return supervisor->Run();
}

}  // namespace longhand::client
