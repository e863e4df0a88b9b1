#include "client/status/status_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

#include "client/connection.h"
#include "client/status/live_screen.h"
#include "client/status/message_json.h"
#include "client/status/status_table.h"
#include "client/status/status_view.h"
#include "common/options/command_line.h"
#include "longhand/v1/cluster.grpc.pb.h"
#include "proto/grpc_status.h"

namespace longhand::client {
namespace {

constexpr std::chrono::seconds kPatience(5);  // with a server that is watched

struct StatusOptions {
  Endpoint endpoint;
  bool json = false;
  bool watch = false;
  double interval = 1;  // seconds
};

std::string Json(const v1::GetStatusResponse& status) {
  return boost::json::serialize(ToJson(status));
}

Status Ask(v1::Cluster::Stub& stub, bool is_patient, v1::GetStatusResponse* response) {
  grpc::ClientContext context;
  if (!is_patient) context.set_deadline(std::chrono::system_clock::now() + kPatience);
  return FromGrpc(stub.GetStatus(&context, v1::GetStatusRequest(), response));
}

// Until a signal ends it; a server that goes away is waited for.
[[noreturn]] void Watch(v1::Cluster::Stub& stub, const StatusOptions& options) {
  using Clock = std::chrono::steady_clock;
  const std::chrono::duration<double> interval(options.interval);
  StatusView view;
  LiveScreen screen(stdout);
  const bool is_terminal = isatty(STDOUT_FILENO) == 1 && !options.json;
  Clock::time_point last = Clock::now();
  for (Clock::time_point next = last;; std::this_thread::sleep_until(next)) {
    next = std::max(Clock::now(), next + std::chrono::duration_cast<Clock::duration>(interval));
    v1::GetStatusResponse response;
    const Status status = Ask(stub, false, &response);
    const Clock::time_point now = Clock::now();
    if (status.ok())
      view.Take(response, std::chrono::duration<double>(now - std::exchange(last, now)).count());
    if (is_terminal) {
      std::vector<std::string> lines = view.Lines();
      if (!status.ok())
        lines.insert(lines.begin(),
                     options.endpoint.address + " does not answer: " + status.ToString());
      screen.Draw(lines);
    } else if (!status.ok()) {
      std::fprintf(stderr, "longhand status: %s\n", status.ToString().c_str());
    } else {
      std::printf("%s\n", (options.json ? Json(response) : view.Line()).c_str());
      std::fflush(stdout);
    }
  }
}

}  // namespace

int StatusCommand(const std::vector<std::string>& args) {
  CLI::App app{"Shows what a running cell says of itself.", "longhand status"};
  StatusOptions options;
  AddEndpointOption(app, options.endpoint);
  app.add_flag("--watch", options.watch,
               "Again and again: a live table on a terminal, a line each time otherwise")
      ->configurable(false);
  app.add_option("--interval", options.interval, "With --watch: seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str()
      ->configurable(false)
      ->take_last();
  app.add_flag("--json", options.json, "One JSON object; with --watch one a line");
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const auto stub = v1::Cluster::NewStub(Connect(options.endpoint));
  if (options.watch) Watch(*stub, options);
  v1::GetStatusResponse response;
  const Status status = Ask(*stub, true, &response);
  if (!status.ok()) return ReportFailure("status", options.endpoint, status.About(kAboutEndpoint));
  std::fputs(options.json ? (Json(response) + "\n").c_str() : StatusTable(response).c_str(),
             stdout);
  return kExitOk;
}

}  // namespace longhand::client
