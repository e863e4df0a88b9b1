#include "client/chaos/chaos_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/chaos/chaos.h"
#include "client/connection.h"
#include "client/executable.h"
#include "client/serve/child_cluster.h"
#include "client/serve/ready_file.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

// What is done where nobody says what to do.
constexpr int kDefaultKills = 10;

struct ChaosOptions {
  std::string ready_file;
  Endpoint endpoint;  // The ready file has its address.
  std::string model = BundledPath("model");
  std::string device = "cpu";
  int tensor_parallel_size = 2;
  int data_parallel_size = 1;
  int spare_workers = 0;
  ChaosConfig chaos;
  int64_t max_stop_ms = ChaosConfig().max_stop.count();
  bool json = false;
};

void AddOptions(CLI::App& app, ChaosOptions& o) {
  const auto scalar = [&app](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->capture_default_str()->take_last();
  };
  const CLI::Range count(0, 100000);
  scalar("--ready-file", o.ready_file,
         "Of `longhand serve --ready-file` on this machine, whose processes are killed; without "
         "it, a cluster is started and ended");
  scalar("--api-key", o.endpoint.api_key, "What that server's --api-key-file asks for");
  scalar("--tls-ca", o.endpoint.tls_ca,
         "PEM file of the authority that its certificate is from; speaks TLS")
      ->check(CheckAuthority);
  scalar("--model", o.model, "Checkpoint directory of a cluster that is started");
  scalar("--device", o.device, "Where it computes");
  scalar("--tensor-parallel-size,--tp", o.tensor_parallel_size, "Its ranks in a group")
      ->check(CLI::Range(1, 64));
  scalar("--data-parallel-size", o.data_parallel_size, "Its groups")->check(CLI::Range(1, 64));
  scalar("--spare-workers", o.spare_workers, "Workers that wait to take a lost one's place")
      ->check(CLI::Range(0, 64));
  scalar("--worker-kills", o.chaos.num_worker_kills, "SIGKILLs of random workers")->check(count);
  scalar("--coordinator-kills", o.chaos.num_coordinator_kills, "SIGKILLs of the coordinator")
      ->check(count);
  scalar("--worker-stops", o.chaos.num_worker_stops, "SIGSTOPs of random workers")->check(count);
  scalar("--max-stop-ms", o.max_stop_ms, "The longest of them")->check(CLI::Range(100, 600000));
  scalar("--streams", o.chaos.num_streams, "Streams that run at once")->check(CLI::Range(1, 1024));
  scalar("--max-tokens", o.chaos.max_tokens, "Longest answer")->check(CLI::Range(10, 1000000));
  scalar("--seed", o.chaos.seed, "Of requests, victims and moments");
  app.add_flag("--json", o.json, "The report as one JSON object");
}

Status StartCluster(const ChaosOptions& o, ChildCluster* cluster) {
  return cluster->Start(
      ExecutablePath(),
      {"--model", o.model, "--device", o.device, "--tensor-parallel-size",
       std::to_string(o.tensor_parallel_size), "--data-parallel-size",
       std::to_string(o.data_parallel_size), "--spare-workers", std::to_string(o.spare_workers)});
}

void ShowProgress(const ChaosReport& report) {
  const ChaosConfig& config = report.config;
  const int total =
      config.num_worker_kills + config.num_coordinator_kills + config.num_worker_stops;
  fmt::print(stderr, "\r{} of {} kills and stops, {} answers, {} tokens", report.num_events, total,
             report.num_answers, report.num_tokens);
  std::fflush(stderr);
}

Result<ChaosReport> Run(const ChaosOptions& o) {
  ChildCluster cluster;
  ChaosTarget target{.ready_file = o.ready_file};
  if (o.ready_file.empty()) {
    LONGHAND_RETURN_IF_ERROR(StartCluster(o, &cluster));
    target.ready_file = cluster.ready_file();
    target.is_interrupted = ChildCluster::interrupted;
  }
  LONGHAND_ASSIGN_OR_RETURN(const ReadyFile ready, ReadyFile::Read(target.ready_file));
  Endpoint endpoint = o.endpoint;
  endpoint.address = ready.grpc;
  target.channel = Connect(endpoint);
  const bool shows = isatty(STDERR_FILENO) != 0;
  const ChaosReport report =
      RunChaos(target, o.chaos, shows ? ShowProgress : std::function<void(const ChaosReport&)>());
  if (shows) fmt::print(stderr, "\r\x1b[K");
  if (ChildCluster::interrupted()) return Cancelled("interrupted; the cluster has ended");
  return report;
}

}  // namespace

int ChaosCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Kills workers and the coordinator of a cluster and stops workers, at random points while "
      "streams run; each answer must be the undisturbed one, event by event.",
      "longhand chaos"};
  app.footer(fmt::format("Where no number of kills or stops is given: {} kills of each kind.",
                         kDefaultKills));
  ChaosOptions options;
  AddOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  ChaosConfig& chaos = options.chaos;
  chaos.max_stop = std::chrono::milliseconds(options.max_stop_ms);
  if (app.count("--worker-kills") + app.count("--coordinator-kills") +
          app.count("--worker-stops") ==
      0) {
    chaos.num_worker_kills = chaos.num_coordinator_kills = kDefaultKills;
  }
  const Result<ChaosReport> report = Run(options);
  if (!report.ok()) {
    std::fprintf(stderr, "longhand chaos: %s\n", report.status().message().c_str());
    return kExitFailed;
  }
  fmt::print("{}", options.json ? report->ToJson() + "\n" : report->ToText());
  return report->faults.empty() ? kExitOk : kExitFailed;
}

}  // namespace longhand::client
