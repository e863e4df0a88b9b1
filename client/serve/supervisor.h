// Supervisor: the cluster on one machine. Starts a coordinator and its workers, restarts what dies,
// writes the ready file, ends them in order.
//
// Main thread only. It takes no part in serving: children tell it where they listen and whether
// tokens can be made, as JSON lines on their standard output ({"grpc":..,"metrics":..},
// {"ready":true,"workers":[0,2]}, {"silent_worker":1}, {"listen":..,"metrics":..}). Workers are
// counted as they were started, group after group, the spares of each last; `workers` says which of
// them each rank is.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "client/serve/child_process.h"
#include "client/serve/reserved_port.h"
#include "common/options/serve_options.h"
#include "common/status.h"

namespace longhand::client {

struct SupervisorConfig {
  ServeOptions options;
  std::vector<std::string> coordinator_args;  // the effective configuration, as flags
  std::filesystem::path binaries;    // directory of longhand-coordinator and longhand-worker
  std::filesystem::path ready_file;  // empty: none
};

class Supervisor {
 public:
  static Result<Supervisor> Create(SupervisorConfig config);
  ~Supervisor();
  Supervisor(Supervisor&&) = default;

  // Serves until SIGTERM, SIGINT, SIGHUP or a failure that a restart cannot mend. Returns the exit
  // code.
  int Run();

 private:
  using Clock = std::chrono::steady_clock;
  struct Child {
    std::string name;
    std::vector<std::string> argv;
    std::optional<ChildProcess> process;
    std::string metrics_address;
    bool listens = false;    // this process has said where
    bool was_ready = false;  // tokens could be made in its time
    Clock::time_point restart_at;
    std::chrono::milliseconds backoff{0};
  };

  struct Ports {
    ReservedPort http;
    ReservedPort grpc;
  };
  Supervisor(SupervisorConfig config, std::filesystem::path directory, Ports ports);

  void Say(const std::string& message) const;
  Status StartAll();
  Status Start(Child& child);
  void TakeReports();
  void TakeReport(Child& child, const std::string& line);
  void OnReady(bool ready);
  void EndSilentWorker(int64_t idx);
  void Reap();
  void OnExit(Child& child, int wait_status);
  void RestartDue();
  void OnSignal(int signal_number);
  void StopWorkersWhenDrained();
  void UpdateReadyFile();
  bool AnyAlive() const;
  Child& coordinator() { return children_.back(); }
  const Child& coordinator() const { return children_.back(); }

  SupervisorConfig config_;
  std::filesystem::path directory_;  // the workers' sockets; removed at the end
  Ports ports_;
  std::vector<Child> children_;  // workers, then the coordinator
  std::vector<size_t> ranks_;    // which of children_ each rank is, group after group
  bool ready_ = false;
  bool announced_ = false;
  std::string written_ready_file_;
  bool ready_file_fails_ = false;
  bool stopping_ = false;
  Clock::time_point stop_deadline_;
  int exit_code_ = 0;
};

}  // namespace longhand::client
