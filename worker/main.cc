// longhand-worker: one rank. Listens, and executes what a coordinator plans.
#include <signal.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/logging/log.h"
#include "common/options/address_check.h"
#include "common/options/command_line.h"
#include "common/prometheus/prometheus_metrics.h"
#include "common/version.h"
#include "proto/grpc_log.h"
#include "worker/comm/network_interface.h"
#include "worker/service/executor.h"
#include "worker/service/gpu_watch.h"
#include "worker/service/worker_metrics.h"
#include "worker/service/worker_server.h"

namespace longhand {
namespace {

// What a step or the forming of a group may take to notice that it is aborted.
constexpr std::chrono::milliseconds kStopPatience{700};

struct WorkerOptions {
  std::string listen = "127.0.0.1:0";
  std::string metrics_address = "127.0.0.1:0";
  std::string device = "cpu";
  int device_idx = 0;
  int threads = 1;
  std::string interface_name;
  std::string log_format = "text";
};

// Blocked before any thread starts, so that all inherit it: WaitForSignal() alone takes them.
// Broken pipes are errors of the call that meets them.
void BlockSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void WaitForSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  int number = 0;
  sigwait(&signals, &number);
}

int Fail(const Status& status) {
  spdlog::error("{}", status.message());
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
}

// Null where there is no GPU, or nobody tells of it.
std::unique_ptr<service::GpuWatch> WatchGpu(const std::string& pci_bus_id, Metrics& metrics) {
  if (pci_bus_id.empty()) return nullptr;
  auto gpu = service::NvmlLibrary::Open(pci_bus_id);
  if (gpu.ok()) return std::make_unique<service::GpuWatch>(std::move(gpu).value(), metrics);
  spdlog::warn("no metrics of GPU {}: {}", pci_bus_id, gpu.status().message());
  return nullptr;
}

int Serve(const WorkerOptions& options) {
  if (!options.interface_name.empty()) {
    const Status found = comm::CheckInterface(options.interface_name);
    if (!found.ok()) return Fail(found);
    // NCCL reads it when it is loaded; "=" asks for this name, not for all that begin so.
    setenv("NCCL_SOCKET_IFNAME", ("=" + options.interface_name).c_str(), /*overwrite=*/1);
  }
  PrometheusMetrics metrics(WorkerMetricTable());
  const Result<std::string> metrics_address = metrics.Serve(options.metrics_address);
  if (!metrics_address.ok()) return Fail(metrics_address.status());
  service::WorkerMetrics worker_metrics(metrics);

  Result<service::Device> device =
      service::OpenDevice(options.device, options.threads, options.device_idx);
  if (!device.ok()) return Fail(device.status());
  const std::unique_ptr<service::GpuWatch> gpu_watch = WatchGpu(device->pci_bus_id, metrics);
  const std::string description = device->name + " (" + device->instruction_set + ", " +
                                  std::to_string(device->num_threads) + " threads)";
  service::Executor executor({.device = std::move(device).value(),
                              .load_runner = std::bind_front(&service::LoadRunner, options.threads),
                              .metrics = worker_metrics,
                              .log = [](const std::string& line) { spdlog::info("{}", line); },
                              .interface_name = options.interface_name});

  auto server = service::WorkerServer::Start(options.listen, executor, *metrics_address);
  if (!server.ok()) return Fail(server.status());
  spdlog::info("longhand-worker {} on {}, device {}, metrics on {}", kVersion, (*server)->address(),
               description, *metrics_address);
  // The supervisor reads this line.
  std::printf("{\"listen\":\"%s\",\"metrics\":\"%s\"}\n", (*server)->address().c_str(),
              metrics_address->c_str());
  std::fflush(stdout);

  WaitForSignal();
  if (!executor.Stop(kStopPatience)) {
    // Loading cannot be interrupted, and all that a worker holds can be rebuilt.
    spdlog::info("stopping in the middle of the work");
    std::_Exit(kExitOk);
  }
  server->reset();
  spdlog::info("stopped");
  return kExitOk;
}

int Main(const std::vector<std::string>& args) {
  WorkerOptions options;
  CLI::App app{"Executes the plans of a coordinator on one device.", "longhand-worker"};
  app.add_option("--listen", options.listen, "host:port or unix:PATH; port 0 picks one")
      ->check(CheckWorkerAddress)
      ->capture_default_str()
      ->take_last();
  app.add_option("--metrics-address", options.metrics_address, "host:port of /metrics")
      ->check(CheckAddress)
      ->capture_default_str()
      ->take_last();
  app.add_option("--device", options.device,
                 "cpu, cuda, emulated (cuda's kernels, on the host) or reference")
      ->capture_default_str()
      ->take_last();
  app.add_option("--device-index", options.device_idx, "Which GPU, with --device cuda")
      ->capture_default_str()
      ->take_last();
  app.add_option("--threads", options.threads, "Threads that compute")
      ->capture_default_str()
      ->take_last();
  app.add_option("--interface", options.interface_name,
                 "Network interface through which ranks on other hosts are met; that of --listen "
                 "by default")
      ->take_last();
  app.add_option("--log-format", options.log_format,
                 "Lines on standard error: text, or json objects")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->take_last();
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  BlockSignals();
  const Log log("worker", LogFormatOf(options.log_format));
  const GrpcLog grpc_log([](std::string_view message) { spdlog::warn("gRPC: {}", message); });
  return Serve(options);
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) { return longhand::Main({argv + 1, argv + argc}); }
