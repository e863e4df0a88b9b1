// scripts/chaos: kills workers and the coordinator of a local cluster while streams run, and
// reports.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "common/options/command_line.h"
#include "tests/e2e/chaos.h"

namespace longhand::e2e {
namespace {

int Main(const std::vector<std::string>& args) {
  CLI::App app{
      "Kills workers and the coordinator of a cluster and stops workers, at random points while "
      "streams run; each answer must be the undisturbed one, event by event.",
      "chaos"};
  ChaosConfig config;
  std::string model = TestCheckpointPath();
  std::string report_file;
  app.add_option("--model", model, "Checkpoint directory")->capture_default_str();
  app.add_option("--worker-kills", config.num_worker_kills, "Kills of random workers")
      ->capture_default_str();
  app.add_option("--coordinator-kills", config.num_coordinator_kills, "Kills of the coordinator")
      ->capture_default_str();
  int64_t max_stop_ms = config.max_stop.count();
  int num_spares = 0;
  int num_groups = 1;
  app.add_option("--worker-stops", config.num_worker_stops, "SIGSTOPs of random workers")
      ->capture_default_str();
  app.add_option("--max-stop-ms", max_stop_ms, "The longest of them")->capture_default_str();
  app.add_option("--spare-workers", num_spares, "Workers that wait to take a lost one's place")
      ->capture_default_str();
  app.add_option("--data-parallel-size", num_groups, "Groups of two ranks")->capture_default_str();
  app.add_option("--streams", config.num_streams, "Streams that run at once")
      ->capture_default_str();
  app.add_option("--max-tokens", config.max_tokens, "Longest answer")->capture_default_str();
  app.add_option("--seed", config.seed, "Of requests, victims and moments")->capture_default_str();
  app.add_option("--json", report_file, "Also writes the report to this file");
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  config.max_stop = std::chrono::milliseconds(max_stop_ms);
  LocalCluster cluster(
      model, {"--tp", "2", "--threads", "1", "--spare-workers", std::to_string(num_spares),
              "--data-parallel-size", std::to_string(num_groups)});
  const ChaosReport report = RunChaos(cluster, config);
  std::printf("%s\n", report.ToJson().c_str());
  if (!report_file.empty()) std::ofstream(report_file) << report.ToJson() << "\n";
  return report.faults.empty() ? kExitOk : kExitFailed;
}

}  // namespace
}  // namespace longhand::e2e

int main(int argc, char** argv) { return longhand::e2e::Main({argv + 1, argv + argc}); }
