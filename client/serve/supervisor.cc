#include "client/serve/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "client/serve/processors.h"
#include "common/address.h"
#include "common/check.h"
#include "common/logging/log_format.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

constexpr std::chrono::milliseconds kPollInterval(50);
constexpr std::chrono::milliseconds kFirstBackoff(100);
constexpr std::chrono::milliseconds kMaxBackoff(5000);
constexpr std::chrono::seconds kKillAfter(3);  // past the drain: what still lives is killed

int ThreadsPerWorker(const ServeOptions& options) {
  if (options.threads > 0) return options.threads;
  return ThreadsOfRank(static_cast<int>(std::thread::hardware_concurrency()), ProcessorQuota(),
                       options.num_ranks());  // Spares only wait.
}

bool IsIgnored(int signal_number) {
  struct sigaction action{};
  return sigaction(signal_number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// SIGCHLD and what ends a program as readable events instead of handlers. A terminal that is closed
// is one of them, unless nohup said otherwise; whoever read our messages and is gone is none.
int OpenSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&signals, number);
  if (!IsIgnored(SIGHUP)) sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

// The address of the metrics of worker `i`.
std::string AddressOf(const std::string& first, int i) {
  Result<Address> address = Address::Parse(first);
  LONGHAND_CHECK(address.ok()) << address.status();  // The options are checked.
  if (address->port != 0) address->port += i;
  return address->ToString();
}

// False where it could not be: then what was there still is.
bool WriteByRename(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  std::ofstream file(temporary);
  file << text << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path, error);
  if (file && !error) return true;
  std::filesystem::remove(temporary, error);
  return false;
}

// What an earlier run left is gone, and a new one can be written.
Status PrepareReadyFile(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return InvalidArgument("--ready-file ", path.string(), " is a directory");
  std::filesystem::remove(path, error);
  const std::filesystem::path temporary = path.string() + ".tmp";
  if (error || !std::ofstream(temporary))
    return Unavailable("--ready-file ", path.string(),
                       " cannot be written: ", error ? error.message() : std::strerror(errno));
  std::filesystem::remove(temporary, error);
  return OkStatus();
}

std::string Describe(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "killed by signal " + std::to_string(WTERMSIG(wait_status));
  return "exit code " + std::to_string(WEXITSTATUS(wait_status));
}

}  // namespace

Result<Supervisor> Supervisor::Create(SupervisorConfig config) {
  if (!config.ready_file.empty()) LONGHAND_RETURN_IF_ERROR(PrepareReadyFile(config.ready_file));
  LONGHAND_ASSIGN_OR_RETURN(ReservedPort http, ReservedPort::Reserve(config.options.http_address));
  LONGHAND_ASSIGN_OR_RETURN(ReservedPort grpc, ReservedPort::Reserve(config.options.grpc_address));
  std::string directory = (std::filesystem::temp_directory_path() / "longhand-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) return Internal("cannot make ", directory);
  return Supervisor(std::move(config), directory, {std::move(http), std::move(grpc)});
}

Supervisor::Supervisor(SupervisorConfig config, std::filesystem::path directory, Ports ports)
    : config_(std::move(config)), directory_(std::move(directory)), ports_(std::move(ports)) {
  const ServeOptions& options = config_.options;
  std::string workers;
  for (int i = 0; i < options.num_workers(); ++i) {
    const std::string socket = "unix:" + (directory_ / ("worker-" + std::to_string(i))).string();
    workers += (i == 0 ? "" : ",") + socket;
    if (i % options.num_workers_of_group() < options.tensor_parallel_size)
      ranks_.push_back(static_cast<size_t>(i));
    children_.push_back(
        {.name = "worker " + std::to_string(i),
         .argv = {(config_.binaries / "longhand-worker").string(), "--listen", socket,
                  "--metrics-address", AddressOf(options.worker_metrics_address, i), "--device",
                  options.device, "--device-index", std::to_string(i), "--log-format",
                  options.log_format, "--threads", std::to_string(ThreadsPerWorker(options))}});
  }
  std::vector<std::string> argv = {(config_.binaries / "longhand-coordinator").string()};
  argv.insert(argv.end(), config_.coordinator_args.begin(), config_.coordinator_args.end());
  argv.insert(argv.end(), {"--workers", workers, "--http-address", ports_.http.address(),
                           "--grpc-address", ports_.grpc.address()});
  if (options.journal == "auto")
    argv.insert(argv.end(), {"--journal", (directory_ / "journal").string()});
  children_.push_back({.name = "coordinator", .argv = std::move(argv)});
}

Supervisor::~Supervisor() {
  std::error_code ignored;
  if (directory_.empty()) return;
  std::filesystem::remove_all(directory_, ignored);
  if (!config_.ready_file.empty()) std::filesystem::remove(config_.ready_file, ignored);
}

int Supervisor::Run() {
  const int signals = OpenSignals();
  if (const Status status = StartAll(); !status.ok()) {
    Say(status.message());
    return kExitFailed;
  }
  while (!(stopping_ && !AnyAlive())) {
    std::vector<pollfd> fds = {{signals, POLLIN, 0}};
    for (const Child& child : children_) {
      if (child.process) fds.push_back({child.process->stdout_fd(), POLLIN, 0});
    }
    poll(fds.data(), fds.size(), static_cast<int>(kPollInterval.count()));
    signalfd_siginfo info;
    while (read(signals, &info, sizeof(info)) == sizeof(info))
      OnSignal(static_cast<int>(info.ssi_signo));
    TakeReports();
    Reap();
    StopWorkersWhenDrained();
    RestartDue();
    UpdateReadyFile();
  }
  close(signals);
  return exit_code_;
}

void Supervisor::Say(const std::string& message) const {
  const std::string line = LogFormatOf(config_.options.log_format) == LogFormat::kJson
                               ? JsonLogLine("info", "longhand serve", message)
                               : "longhand serve: " + message + "\n";
  std::fputs(line.c_str(), stderr);
}

Status Supervisor::StartAll() {
  for (Child& child : children_) LONGHAND_RETURN_IF_ERROR(Start(child));
  return OkStatus();
}

Status Supervisor::Start(Child& child) {
  std::vector<std::string> argv = child.argv;
  // A metrics port that was picked once is kept: dashboards go on reading it.
  if (!child.metrics_address.empty()) {
    argv.push_back("--metrics-address");
    argv.push_back(child.metrics_address);
  }
  LONGHAND_ASSIGN_OR_RETURN(child.process, ChildProcess::Spawn(argv));
  child.listens = false;
  child.was_ready = false;
  return OkStatus();
}

void Supervisor::TakeReports() {
  for (Child& child : children_) {
    if (!child.process) continue;
    for (const std::string& line : child.process->ReadLines()) TakeReport(child, line);
  }
}

void Supervisor::TakeReport(Child& child, const std::string& line) {
  boost::system::error_code error;
  const boost::json::value parsed = boost::json::parse(line, error);
  if (error || !parsed.is_object()) return;
  const boost::json::object& report = parsed.get_object();
  if (const auto* address = report.if_contains("metrics")) {
    child.metrics_address = std::string(address->as_string());
    child.listens = true;
  }
  if (const auto* workers = report.if_contains("workers")) {
    ranks_.clear();
    for (const auto& worker : workers->as_array())
      ranks_.push_back(static_cast<size_t>(worker.as_int64()));
  }
  if (const auto* ready = report.if_contains("ready")) OnReady(ready->as_bool());
  if (const auto* worker = report.if_contains("silent_worker")) EndSilentWorker(worker->as_int64());
}

void Supervisor::OnReady(bool ready) {
  ready_ = ready;
  for (Child& child : children_) child.was_ready |= ready;
}

// A hung process does not end by itself; one that does not listen yet is only starting.
void Supervisor::EndSilentWorker(int64_t idx) {
  const Child& worker = children_[static_cast<size_t>(idx)];
  if (!worker.process || !worker.listens) return;
  Say("the " + worker.name + " does not answer and is killed");
  worker.process->Signal(SIGKILL);
}

void Supervisor::Reap() {
  int wait_status = 0;
  for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
    for (Child& child : children_) {
      if (child.process && child.process->pid() == pid) OnExit(child, wait_status);
    }
  }
}

void Supervisor::OnExit(Child& child, int wait_status) {
  for (const std::string& line : child.process->ReadLines()) TakeReport(child, line);
  child.process.reset();
  const bool is_coordinator = &child == &coordinator();
  if (is_coordinator) ready_ = false;
  if (stopping_ && is_coordinator) {  // Drained: nothing is worth waiting for.
    stop_deadline_ = std::min(stop_deadline_, Clock::now() + kKillAfter);
  }
  if (stopping_) return;
  Say("the " + child.name + " ended (" + Describe(wait_status) + ")");
  // An orderly failure is one that a restart cannot mend: a bad checkpoint, a port taken. It was
  // logged by the child.
  const bool failed = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != kExitOk;
  // But the port of its metrics, which is not held while it is dead, may be another's by now.
  const bool may_move = !child.listens && !child.metrics_address.empty();
  if (failed && may_move) child.metrics_address.clear();
  if (failed && !may_move) {
    exit_code_ = WEXITSTATUS(wait_status) == kExitUsage ? kExitUsage : kExitFailed;
    OnSignal(SIGTERM);
    return;
  }
  // Whoever dies at work is missed at once; whoever dies before it worked is not tried in a hurry.
  if (child.was_ready) child.backoff = std::chrono::milliseconds(0);
  child.restart_at = Clock::now() + child.backoff;
  child.backoff = std::min(kMaxBackoff, std::max(kFirstBackoff, child.backoff * 2));
}

void Supervisor::RestartDue() {
  if (stopping_) return;
  for (Child& child : children_) {
    if (child.process || Clock::now() < child.restart_at) continue;
    if (const Status status = Start(child); !status.ok()) {
      Say(status.message());
      child.restart_at = Clock::now() + kMaxBackoff;
    }
  }
}

// The first SIGTERM lets the coordinator drain; the second ends everything at once.
void Supervisor::OnSignal(int signal_number) {
  if (signal_number == SIGCHLD) return;
  const bool again = std::exchange(stopping_, true);
  if (again && signal_number == SIGHUP) return;  // A terminal that closes may say so twice.
  if (!again) {
    stop_deadline_ =
        Clock::now() + std::chrono::seconds(config_.options.shutdown_timeout) + kKillAfter;
    if (coordinator().process) coordinator().process->Signal(SIGTERM);
    return;
  }
  for (Child& child : children_) {
    if (child.process) child.process->Signal(SIGKILL);
  }
}

void Supervisor::StopWorkersWhenDrained() {
  if (!stopping_) return;
  const bool overdue = Clock::now() > stop_deadline_;
  for (Child& child : children_) {
    if (!child.process) continue;
    if (overdue) {
      child.process->Signal(SIGKILL);
    } else if (!coordinator().process) {
      child.process->Signal(SIGTERM);
    }
  }
}

void Supervisor::UpdateReadyFile() {
  if (!announced_ && ready_) {
    Say("ready, HTTP on " + ports_.http.address() + ", gRPC on " + ports_.grpc.address());
    announced_ = true;
  }
  if (config_.ready_file.empty()) return;
  if (stopping_) {
    std::error_code ignored;
    std::filesystem::remove(config_.ready_file, ignored);
    return;
  }
  if (!ready_ || !coordinator().process) return;
  boost::json::array worker_metrics;
  boost::json::array worker_pids;
  for (const size_t idx : ranks_) {
    if (!children_[idx].process) return;
    worker_metrics.push_back(boost::json::string(children_[idx].metrics_address));
    worker_pids.push_back(children_[idx].process->pid());
  }
  boost::json::array spare_pids;
  for (size_t idx = 0; idx + 1 < children_.size(); ++idx) {
    const bool is_rank = std::find(ranks_.begin(), ranks_.end(), idx) != ranks_.end();
    if (!is_rank && children_[idx].process) spare_pids.push_back(children_[idx].process->pid());
  }
  boost::json::object pids = {{"coordinator", coordinator().process->pid()},
                              {"workers", worker_pids}};
  if (config_.options.spare_workers > 0) pids["spares"] = spare_pids;
  const std::string text =
      boost::json::serialize(boost::json::object{{"http", ports_.http.address()},
                                                 {"grpc", ports_.grpc.address()},
                                                 {"metrics", coordinator().metrics_address},
                                                 {"worker_metrics", worker_metrics},
                                                 {"pids", pids}});
  if (text == written_ready_file_) return;
  if (WriteByRename(config_.ready_file, text)) {
    written_ready_file_ = text;
    ready_file_fails_ = false;
  } else if (!std::exchange(ready_file_fails_, true)) {
    Say("--ready-file " + config_.ready_file.string() +
        " cannot be written; that is tried until it succeeds");
  }
}

bool Supervisor::AnyAlive() const {
  return std::any_of(children_.begin(), children_.end(),
                     [](const Child& c) { return c.process.has_value(); });
}

}  // namespace longhand::client
