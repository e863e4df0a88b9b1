// PullPrinter: a download's progress on standard error: one line that is redrawn on a terminal,
// plain lines otherwise.
#pragma once

#include <chrono>
#include <string>

#include "client/pull/pull_progress.h"

namespace longhand::client {

// 15231 -> "14.9 KiB".
std::string HumanBytes(int64_t bytes);

// One thread.
class PullPrinter {
 public:
  PullPrinter(PullProgress& progress, bool is_terminal, bool is_quiet);

  // Often; shows what is new.
  void Update();
  // At the end: what is left to say, and an empty line on a terminal.
  void Close();

  // "7 of 9 files, 12.1 of 15.4 GiB (78%), 95.2 MiB/s, 0:35 left"
  std::string Summary() const;

 private:
  using Clock = std::chrono::steady_clock;

  void PrintLines();

  PullProgress& progress_;
  const bool is_terminal_;
  const bool is_quiet_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
  bool has_line_ = false;  // on the terminal, to be redrawn
};

}  // namespace longhand::client
