// longhand-coordinator: takes requests, plans steps, sends them to workers, streams the answers.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>

#include "common/address.h"
#include "common/hub_cache.h"
#include "common/logging/log.h"
#include "common/options/address_check.h"
#include "common/options/command_line.h"
#include "common/options/serve_options.h"
#include "coordinator/coordinator.h"
#include "coordinator/dry_run.h"
#include "coordinator/loaded_model.h"
#include "coordinator/settings.h"
#include "coordinator/signals.h"
#include "proto/grpc_log.h"

namespace longhand {
namespace {

// Series of metrics are bounded, and so are their labels.
constexpr int kMaxRanks = 256;
// Where the chart's and compose's workers listen.
constexpr int kWorkerPort = 7001;

struct CoordinatorOptions {
  ServeOptions serve;
  WorkerAddresses workers;
  std::string rendezvous_address = "127.0.0.1:0";
};

// Of a DNS name, whose port may be left out.
std::string WithWorkerPort(const std::string& given) {
  const bool has_port = Address::Parse(given).ok();
  const std::string address = has_port ? given : given + ":" + std::to_string(kWorkerPort);
  const std::string fault = CheckPeerAddress(address);
  if (!fault.empty()) throw CLI::ValidationError(fault);
  return address;
}

int Fail(const Status& status) {
  spdlog::error("{}", status.message());
  return status.code() == StatusCode::kUnavailable ? kExitFailed : kExitUsage;
}

// The disk is full, fails, or may not be written now; the rest only a person can mend.
bool MayComeRight(const Status& journal) {
  return journal.code() == StatusCode::kResourceExhausted ||
         journal.code() == StatusCode::kUnavailable;
}

int Serve(const CoordinatorOptions& options, const Log& log) {
  Result<LoadedModel> model = LoadedModel::Load(options.serve);
  if (!model.ok()) return Fail(model.status());
  const engine::EngineConfig engine_config = MakeEngineConfig(options.serve, model->config);
  if (const Status status = engine::CheckConfig(engine_config); !status.ok()) return Fail(status);
  Result<api::ApiKeys> keys = LoadKeys(options.serve);
  if (!keys.ok()) return Fail(keys.status());
  Result<std::unique_ptr<journal::Store>> store = OpenJournal(options.serve);
  if (!store.ok() && !MayComeRight(store.status())) return Fail(store.status());
  Coordinator coordinator(options.serve, options.workers, log, std::move(model).value(),
                          std::move(keys).value(), std::move(store));
  if (const Status status = coordinator.Listen(options.rendezvous_address); !status.ok())
    return Fail(status);
  const Status status = coordinator.Run();
  return status.ok() ? kExitOk : Fail(status);
}

Status CheckWorkers(const CoordinatorOptions& options) {
  const ServeOptions& serve = options.serve;
  if (serve.num_ranks() > kMaxRanks) {
    return InvalidArgument("--data-parallel-size ", serve.data_parallel_size,
                           " times --tensor-parallel-size ", serve.tensor_parallel_size, " is ",
                           serve.num_ranks(), " ranks; one coordinator has at most ", kMaxRanks);
  }
  if (!options.workers.dns.empty()) {  // As many as are needed, in time.
    if (options.workers.each.empty()) return OkStatus();
    return InvalidArgument(
        "--workers names ", options.workers.each.size(),
        " workers and --workers-dns all of them; only one of the two may be given");
  }
  if (static_cast<int>(options.workers.each.size()) == serve.num_workers()) return OkStatus();
  return InvalidArgument("--workers names ", options.workers.each.size(), " workers; it must be ",
                         serve.num_workers(), ": --tensor-parallel-size is ",
                         serve.tensor_parallel_size, ", --spare-workers is ", serve.spare_workers,
                         ", --data-parallel-size is ", serve.data_parallel_size);
}

int Main(const std::vector<std::string>& args) {
  CoordinatorOptions options;
  CLI::App app{"Takes requests and plans the steps of groups of workers.", "longhand-coordinator"};
  AddServeOptions(app, options.serve);
  std::string config_file;
  app.add_option("--config", config_file, "YAML file with the same names")->take_last();
  app.add_option("--workers", options.workers.each,
                 "host:port or unix:PATH of each rank, in rank order, then of the spares; group "
                 "after group")
      ->delimiter(',')
      ->check(CheckPeerAddress);
  app.add_option("--workers-dns", options.workers.dns,
                 "In place of --workers, a name (name:port; 7001) whose addresses are the workers "
                 "of all groups; it is looked up again when one is lost")
      ->transform(WithWorkerPort)
      ->take_last();
  app.add_option("--rendezvous-address", options.rendezvous_address,
                 "host:port at which workers on other hosts find each other")
      ->check(CheckAddress)
      ->capture_default_str()
      ->take_last();
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  BlockSignals();
  const Log log("coordinator", LogFormatOf(options.serve.log_format));
  const GrpcLog grpc_log([](std::string_view message) { spdlog::warn("gRPC: {}", message); });
  if (options.serve.model.empty())
    return Fail(InvalidArgument("--model is required: a checkpoint directory"));
  Result<LocatedModel> located = LocateModel(options.serve.model, options.serve.revision);
  if (!located.ok()) return Fail(located.status());
  options.serve.model = located->directory.string();
  if (options.serve.served_model_name.empty()) options.serve.served_model_name = located->name;
  if (options.serve.dry_run) {
    const Status status = DryRun(options.serve);
    return status.ok() ? kExitOk : Fail(status);
  }
  spdlog::info("configuration: {}", fmt::join(EffectiveArguments(app), " "));
  if (const Status status = CheckWorkers(options); !status.ok()) return Fail(status);
  return Serve(options, log);
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) { return longhand::Main({argv + 1, argv + argc}); }
