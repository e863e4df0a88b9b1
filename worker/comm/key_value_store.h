// KeyValueStore: where the ranks of a group leave each other their addresses while a communicator
// forms. The worker's service implements it over its connection to the coordinator; tests in
// memory.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>

#include "common/status.h"

namespace longhand::comm {

class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;

  // Any thread. A key is set once by one rank; `value` is bytes.
  virtual Status Set(std::string_view key, std::string_view value) = 0;

  // Waits until some rank has set `key`. kDeadlineExceeded after `timeout`; kAborted soon after
  // `stop` is requested; kUnavailable when the store itself is lost.
  virtual Result<std::string> Get(std::string_view key,
                                  std::chrono::milliseconds timeout,
                                  std::stop_token stop) = 0;
};

}  // namespace longhand::comm
