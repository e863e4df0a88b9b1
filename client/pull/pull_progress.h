// PullProgress: how far a download is, from the threads that make it to the one that shows it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace longhand::client {

// Any thread.
struct PullProgress {
  std::atomic<int64_t> total_bytes{0};
  std::atomic<int64_t> present_bytes{0};     // were here before
  std::atomic<int64_t> downloaded_bytes{0};  // of the files as they now are
  std::atomic<int> total_files{0};
  std::atomic<int> finished_files{0};

  void Say(std::string line) {
    std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> TakeLines() {
    std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;  // a few for each file
};

}  // namespace longhand::client
