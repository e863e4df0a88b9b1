// InMemoryStore: a KeyValueStore for ranks that are threads of one test.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "worker/comm/key_value_store.h"

namespace longhand::comm {

class InMemoryStore final : public KeyValueStore {
 public:
  Status Set(std::string_view key, std::string_view value) override {
    {
      std::lock_guard lock(mutex_);
      values_[std::string(key)] = value;
    }
    changed_.notify_all();
    return OkStatus();
  }

  Result<std::string> Get(std::string_view key,
                          std::chrono::milliseconds timeout,
                          std::stop_token stop) override {
    const std::string name(key);
    std::unique_lock lock(mutex_);
    const bool found =
        changed_.wait_for(lock, stop, timeout, [&] { return values_.contains(name); });
    if (found) return values_[name];
    if (stop.stop_requested()) return Aborted("stopped while waiting for ", name);
    return DeadlineExceeded("nobody set ", name, " within ", timeout.count(), " ms");
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, std::string> values_;
};

}  // namespace longhand::comm
