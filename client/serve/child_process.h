// A child program that dies with this process and reports on its standard output, a line at a time.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::client {

// Main thread only: the kernel ties the child's life to the thread that started it.
class ChildProcess {
 public:
  // argv[0] is the program's path. Its standard error goes to `stderr_fd`.
  static Result<ChildProcess> Spawn(const std::vector<std::string>& argv,
                                    int stderr_fd = STDERR_FILENO);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // does not wait; see Supervisor

  pid_t pid() const { return pid_; }
  int stdout_fd() const { return stdout_fd_; }
  void Signal(int signal_number) const;
  // Complete lines that have arrived; never waits.
  std::vector<std::string> ReadLines();

 private:
  ChildProcess(pid_t pid, int stdout_fd) : pid_(pid), stdout_fd_(stdout_fd) {}

  pid_t pid_ = -1;
  int stdout_fd_ = -1;
  std::string partial_line_;
};

}  // namespace longhand::client
