// Log: spdlog, set up. Lines go to standard error.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/logging/log_format.h"

namespace spdlog {
class logger;
}

namespace longhand {

// Makes and ends what spdlog::info and its like write to; main holds one, from when signals are
// blocked: it has a thread.
class Log {
 public:
  Log(const std::string& program, LogFormat format);
  // What waits is written first.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // One line at INFO, from any thread, that never waits: of lines that nobody reads the oldest are
  // dropped.
  void Event(std::string_view message, const LogFields& fields) const;

 private:
  const LogFormat format_;
  std::shared_ptr<spdlog::logger> events_;  // as spdlog has its loggers
};

}  // namespace longhand
