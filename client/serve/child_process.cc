#include "client/serve/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace longhand::client {
namespace {

constexpr size_t kMaxLineBytes = 64 * 1024;

// In the child, between fork and exec: only async-signal-safe calls.
[[noreturn]] void BecomeProgram(char* const* argv, int stdout_fd, int stderr_fd, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  setpgid(0, 0);  // Ctrl-C is for the parent, which ends its children in order.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(stdout_fd, STDOUT_FILENO);
  dup2(stderr_fd, STDERR_FILENO);
  execv(argv[0], argv);
  _exit(127);
}

}  // namespace

Result<ChildProcess> ChildProcess::Spawn(const std::vector<std::string>& argv, int stderr_fd) {
  if (access(argv[0].c_str(), X_OK) != 0) {
    return NotFound("cannot run ", argv[0], ": ", std::strerror(errno));
  }
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return Internal("pipe: ", std::strerror(errno));
  std::vector<char*> raw;
  for (const std::string& arg : argv) raw.push_back(const_cast<char*>(arg.c_str()));
  raw.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeProgram(raw.data(), fds[1], stderr_fd, parent);
  const int fork_errno = errno;
  close(fds[1]);
  if (pid < 0) {
    close(fds[0]);
    return Internal("fork: ", std::strerror(fork_errno));
  }
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  return ChildProcess(pid, fds[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      stdout_fd_(std::exchange(other.stdout_fd_, -1)),
      partial_line_(std::move(other.partial_line_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(stdout_fd_, other.stdout_fd_);
  std::swap(partial_line_, other.partial_line_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (stdout_fd_ >= 0) close(stdout_fd_);
}

void ChildProcess::Signal(int signal_number) const { kill(pid_, signal_number); }

std::vector<std::string> ChildProcess::ReadLines() {
  char buffer[4096];
  ssize_t count;
  while ((count = read(stdout_fd_, buffer, sizeof(buffer))) > 0) {
    partial_line_.append(buffer, static_cast<size_t>(count));
    if (partial_line_.size() > kMaxLineBytes) break;
  }
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t end; (end = partial_line_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    lines.push_back(partial_line_.substr(begin, end - begin));
  }
  partial_line_.erase(0, begin);
  if (partial_line_.size() > kMaxLineBytes) partial_line_.clear();
  return lines;
}

}  // namespace longhand::client
