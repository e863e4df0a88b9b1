#include "client/serve/child_cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "client/serve/ready_file.h"

namespace longhand::client {
namespace {

constexpr int kLookEveryMs = 20;

// Handlers have no other way to know.
volatile sig_atomic_t signal_came = 0;
std::atomic<pid_t> serve_pid = 0;

// Once only: a second signal would have the cluster killed instead of ended.
void EndServe() {
  if (const pid_t pid = serve_pid.exchange(0); pid > 0) kill(pid, SIGTERM);
}

void OnSignal(int) {
  signal_came = 1;
  EndServe();
}

void TakeSignals() {
  struct sigaction action{};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaction(number, &action, nullptr);
}

}  // namespace

Status ChildCluster::Start(const std::filesystem::path& longhand,
                           const std::vector<std::string>& flags) {
  std::string directory = (std::filesystem::temp_directory_path() / "longhand-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr)
    return Internal("cannot make ", directory, ": ", std::strerror(errno));
  directory_ = directory;
  const int log = open((directory_ / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (log < 0) return Internal("cannot write ", directory, "/log: ", std::strerror(errno));
  TakeSignals();
  std::vector<std::string> argv = {
      longhand.string(),    "serve",       "--http-address",    "127.0.0.1:0",
      "--grpc-address",     "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
      "--shutdown-timeout", "0",           "--ready-file",      ready_file().string()};
  argv.insert(argv.end(), flags.begin(), flags.end());
  Result<ChildProcess> serve = ChildProcess::Spawn(argv, log);
  close(log);
  if (!serve.ok()) return serve.status();
  serve_pid = serve->pid();
  serve_ = std::move(serve).value();
  return WaitUntilReady();
}

Status ChildCluster::WaitUntilReady() {
  std::error_code ignored;
  while (!std::filesystem::exists(ready_file(), ignored)) {
    if (interrupted()) return Cancelled("interrupted");
    if (waitpid(serve_->pid(), nullptr, WNOHANG) != 0) {
      serve_pid = 0;
      serve_.reset();
      std::ifstream in(directory_ / "log");
      const std::string log(std::istreambuf_iterator<char>(in), {});
      return FailedPrecondition("the cluster did not start:\n", log);
    }
    poll(nullptr, 0, kLookEveryMs);
  }
  LONGHAND_ASSIGN_OR_RETURN(ReadyFile ready, ReadyFile::Read(ready_file()));
  endpoint_ = std::move(ready.grpc);
  return OkStatus();
}

ChildCluster::~ChildCluster() {
  if (serve_) {
    EndServe();
    waitpid(serve_->pid(), nullptr, 0);
  }
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

bool ChildCluster::interrupted() { return signal_came != 0; }

}  // namespace longhand::client
