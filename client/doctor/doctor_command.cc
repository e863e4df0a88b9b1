#include "client/doctor/doctor_command.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/doctor/finding.h"
#include "client/doctor/gpu.h"
#include "client/doctor/host.h"
#include "client/doctor/model_check.h"
#include "client/executable.h"
#include "common/options/command_line.h"
#include "common/version.h"

namespace longhand::client {
namespace {

Finding JudgePrograms(const std::filesystem::path& folder) {
  utsname system{};
  uname(&system);
  Finding finding{"longhand", Verdict::kOk, std::string(kVersion) + ", Linux " + system.release,
                  ""};
  for (const char* program : {"longhand-coordinator", "longhand-worker"}) {
    if (access((folder / program).c_str(), X_OK) == 0) continue;
    finding.verdict = Verdict::kFail;
    finding.found += std::string(", without ") + program;
    finding.advice = "the three programs lie in one folder, here " + folder.string();
  }
  return finding;
}

void Append(Findings& findings, Findings more) {
  for (Finding& finding : more) findings.push_back(std::move(finding));
}

}  // namespace

int DoctorCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Says whether this machine can serve with the flags of `longhand serve` that are given, or "
      "that "
      "--config has:\nwhat was found, and what to do. With --model: whether it fits. Exit code 1 "
      "when "
      "something fails.",
      "longhand doctor"};
  ServeOptions options;
  std::string config_file;
  AddServeOptions(app, options);
  app.remove_option(app.get_option("--dry-run"));
  app.get_option("--json")->description("One JSON object");
  app.add_option("--config", config_file, "YAML file with the same names")->take_last();
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const std::filesystem::path folder = ExecutablePath().parent_path();
  const GpuFacts gpus = ReadGpus();
  Findings findings = {JudgePrograms(folder)};
  Append(findings, JudgeGpus(gpus, options));
  Append(findings, JudgeHost(ReadHost(options), options));
  Append(findings, CheckPorts(options));
  if (!options.model.empty())
    findings.push_back(JudgeModel(
        DryRunOf(folder / "longhand-coordinator", EffectiveArguments(app)), gpus, options));
  if (options.json) {
    std::printf("%s\n", FindingsJson(findings).c_str());
  } else {
    std::fputs(FindingsTable(findings, isatty(STDOUT_FILENO) == 1).c_str(), stdout);
  }
  return WorstOf(findings) == Verdict::kFail ? kExitFailed : kExitOk;
}

}  // namespace longhand::client
