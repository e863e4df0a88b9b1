// LocalCluster: `longhand serve` as a user starts it, on free ports, with a client of its own.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/serve/ready_file.h"
#include "longhand/v1/cluster.grpc.pb.h"
#include "longhand/v1/generation.grpc.pb.h"
#include "tests/testing/temp_directory.h"

namespace longhand::e2e {

// Generous: it only ends tests that hang.
inline constexpr std::chrono::seconds kPatience(120);

struct Answer {
  grpc::Status status;
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<v1::GenerateEvent> events;
};

class LocalCluster {
 public:
  // Starts `longhand serve --model checkpoint` with more flags, and waits for its ready file.
  LocalCluster(const std::string& checkpoint, const std::vector<std::string>& flags);
  ~LocalCluster();  // SIGTERM, then waits

  v1::Generation::Stub& generation() { return *generation_; }
  v1::Cluster::Stub& cluster() { return *cluster_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  std::filesystem::path ready_file() const { return directory_ / "ready.json"; }
  const std::string& grpc_address() const { return ready_.grpc; }
  pid_t serve_pid() const { return pid_; }
  pid_t coordinator_pid() const { return ready_.coordinator; }
  const std::vector<pid_t>& worker_pids() const { return ready_.workers; }
  // The processes now: the ready file is read again, for they may have been restarted.
  pid_t FindWorker(size_t rank);
  pid_t FindCoordinator();
  std::vector<std::string> metrics_addresses() const;  // coordinator's, then the workers'

  Answer Generate(const v1::GenerateRequest& request);
  Answer Attach(const std::string& request_id, int64_t from);
  v1::GetStatusResponse GetStatus();
  // Asks until `done` holds. False when patience ends.
  bool WaitForStatus(const std::function<bool(const v1::GetStatusResponse&)>& done);
  // Sends a signal to `longhand serve` and returns its exit code.
  int StopWith(int signal_number);
  std::string log() const;  // of all its processes

 private:
  void ReadReadyFile();
  Answer ReadAll(grpc::ClientReader<v1::GenerateEvent>& reader);

  testing::TempDirectory directory_;
  pid_t pid_ = -1;
  client::ReadyFile ready_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generation::Stub> generation_;
  std::unique_ptr<v1::Cluster::Stub> cluster_;
};

// True once the process is no more; false when patience ends.
bool WaitUntilGone(pid_t pid);

struct CommandResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

std::string LonghandPath();

// A program at work, the command line unless another is named; stdin is empty.
class RunningCommand {
 public:
  explicit RunningCommand(const std::vector<std::string>& args,
                          const std::string& program = LonghandPath());

  // Looks until `text` is on standard output. False when the command or patience ends first.
  bool WaitForOutput(const std::string& text);
  std::string Output() const;  // so far
  void Signal(int signal_number);
  CommandResult Wait();  // once

 private:
  testing::TempDirectory directory_;
  pid_t pid_;
};

CommandResult RunLonghand(const std::vector<std::string>& args);

std::string TestCheckpointPath();

}  // namespace longhand::e2e
