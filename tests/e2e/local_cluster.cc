#include "tests/e2e/local_cluster.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "common/check.h"

extern char** environ;

namespace longhand::e2e {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

pid_t Spawn(const std::vector<std::string>& argv, const std::string& out, const std::string& err) {
  std::vector<char*> raw;
  for (const std::string& arg : argv) raw.push_back(const_cast<char*>(arg.c_str()));
  raw.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  pid_t pid = -1;
  LONGHAND_CHECK(posix_spawn(&pid, raw[0], &files, nullptr, raw.data(), environ) == 0) << raw[0];
  posix_spawn_file_actions_destroy(&files);
  return pid;
}

// The exit code, or 128 and the signal.
int Wait(pid_t pid) {
  int status = 0;
  LONGHAND_CHECK(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Pause() { poll(nullptr, 0, 20); }  // Between two looks at another process.

}  // namespace

// As the tests in Python: another build's programs may be tried.
std::string LonghandPath() {
  const char* elsewhere = std::getenv("LONGHAND_BINARIES");
  return std::string(elsewhere != nullptr ? elsewhere : LONGHAND_BINARIES) + "/longhand";
}

std::string TestCheckpointPath() { return std::string(LONGHAND_TEST_DATA) + "/nano"; }

LocalCluster::LocalCluster(const std::string& checkpoint, const std::vector<std::string>& flags) {
  // What it leaves in temporary directories when it is killed goes with ours.
  std::vector<std::string> argv = {"/usr/bin/env",      "TMPDIR=" + directory_.path().string(),
                                   LonghandPath(),      "serve",
                                   "--model",           checkpoint,
                                   "--ready-file",      ready_file().string(),
                                   "--http-address",    "127.0.0.1:0",
                                   "--grpc-address",    "127.0.0.1:0",
                                   "--metrics-address", "127.0.0.1:0"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  pid_ = Spawn(argv, (directory_ / "out").string(), (directory_ / "log").string());
  const auto deadline = SteadyClock::now() + kPatience;
  while (!std::filesystem::exists(ready_file())) {
    int status = 0;
    LONGHAND_CHECK(waitpid(pid_, &status, WNOHANG) == 0 && SteadyClock::now() < deadline)
        << "not ready:\n"
        << ReadFile(directory_ / "log");
    Pause();
  }
  ReadReadyFile();
  grpc::ChannelArguments args;
  args.SetMaxSendMessageSize(-1);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  channel_ = grpc::CreateCustomChannel(ready_.grpc, grpc::InsecureChannelCredentials(), args);
  generation_ = v1::Generation::NewStub(channel_);
  cluster_ = v1::Cluster::NewStub(channel_);
}

void LocalCluster::ReadReadyFile() {
  Result<client::ReadyFile> ready = client::ReadyFile::Read(ready_file());
  LONGHAND_CHECK(ready.ok()) << ready.status();
  ready_ = std::move(ready).value();
}

std::vector<std::string> LocalCluster::metrics_addresses() const {
  std::vector<std::string> addresses = {ready_.metrics};
  addresses.insert(addresses.end(), ready_.worker_metrics.begin(), ready_.worker_metrics.end());
  return addresses;
}

pid_t LocalCluster::FindWorker(size_t rank) {
  ReadReadyFile();
  return ready_.workers.at(rank);
}

pid_t LocalCluster::FindCoordinator() {
  ReadReadyFile();
  return ready_.coordinator;
}

std::string LocalCluster::log() const { return ReadFile(directory_ / "log"); }

LocalCluster::~LocalCluster() {
  if (pid_ > 0) StopWith(SIGTERM);
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "%s", log().c_str());
}

int LocalCluster::StopWith(int signal_number) {
  kill(pid_, signal_number);
  const int code = Wait(pid_);
  pid_ = -1;
  return code;
}

Answer LocalCluster::Generate(const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  return ReadAll(*generation_->Generate(&context, request));
}

Answer LocalCluster::Attach(const std::string& request_id, int64_t from) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::AttachRequest request;
  request.set_request_id(request_id);
  request.set_from(from);
  return ReadAll(*generation_->Attach(&context, request));
}

Answer LocalCluster::ReadAll(grpc::ClientReader<v1::GenerateEvent>& reader) {
  Answer answer;
  for (v1::GenerateEvent event; reader.Read(&event);) {
    answer.text += event.text();
    answer.token_ids.insert(answer.token_ids.end(), event.token_ids().begin(),
                            event.token_ids().end());
    answer.events.push_back(event);
  }
  answer.status = reader.Finish();
  return answer;
}

v1::GetStatusResponse LocalCluster::GetStatus() {
  const auto deadline = std::chrono::system_clock::now() + kPatience;
  v1::GetStatusResponse response;
  grpc::Status status;
  do {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    context.set_wait_for_ready(true);
    status = cluster_->GetStatus(&context, v1::GetStatusRequest(), &response);
    // A coordinator that is killed takes the call with it.
  } while (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
           std::chrono::system_clock::now() < deadline);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

bool LocalCluster::WaitForStatus(const std::function<bool(const v1::GetStatusResponse&)>& done) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (SteadyClock::now() < deadline) {
    if (done(GetStatus())) return true;
    Pause();
  }
  return false;
}

bool WaitUntilGone(pid_t pid) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (SteadyClock::now() < deadline) {
    if (kill(pid, 0) != 0) return true;
    Pause();
  }
  return false;
}

RunningCommand::RunningCommand(const std::vector<std::string>& args, const std::string& program) {
  std::vector<std::string> argv = {program};
  argv.insert(argv.end(), args.begin(), args.end());
  pid_ = Spawn(argv, (directory_ / "out").string(), (directory_ / "err").string());
}

bool RunningCommand::WaitForOutput(const std::string& text) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (SteadyClock::now() < deadline) {
    siginfo_t ended{};
    waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ReadFile(directory_ / "out").find(text) != std::string::npos) return true;
    if (ended.si_pid != 0) return false;
    Pause();
  }
  return false;
}

std::string RunningCommand::Output() const { return ReadFile(directory_ / "out"); }

void RunningCommand::Signal(int signal_number) { kill(pid_, signal_number); }

CommandResult RunningCommand::Wait() {
  CommandResult result;
  result.exit_code = e2e::Wait(pid_);
  result.out = ReadFile(directory_ / "out");
  result.err = ReadFile(directory_ / "err");
  return result;
}

CommandResult RunLonghand(const std::vector<std::string>& args) {
  return RunningCommand(args).Wait();
}

}  // namespace longhand::e2e
