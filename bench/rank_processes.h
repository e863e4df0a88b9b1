// Ranks as processes of one machine, as workers are, and where they leave each other their
// addresses.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "worker/comm/key_value_store.h"

namespace longhand::bench {

// A file per key, complete once it has its name.
class DirectoryStore final : public comm::KeyValueStore {
 public:
  explicit DirectoryStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  Status Set(std::string_view key, std::string_view value) override {
    const std::filesystem::path file = FileOf(key);
    std::ofstream(file.string() + ".part", std::ios::binary) << value;
    std::filesystem::rename(file.string() + ".part", file);
    return OkStatus();
  }
  Result<std::string> Get(std::string_view key,
                          std::chrono::milliseconds timeout,
                          std::stop_token) override {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (!std::filesystem::exists(FileOf(key))) {
      if (std::chrono::steady_clock::now() > deadline) return DeadlineExceeded("nobody set ", key);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::ifstream file(FileOf(key), std::ios::binary);
    std::stringstream value;
    value << file.rdbuf();
    return value.str();
  }

 private:
  std::filesystem::path FileOf(std::string_view key) const {
    std::string name(key);
    std::replace(name.begin(), name.end(), '/', '_');
    return directory_ / name;
  }

  const std::filesystem::path directory_;
};

// Runs body(rank, store) in a process for each rank, which ends with the status that it returns;
// before that this process must have used no device. The first status that is not 0, or 128 and a
// signal.
template <typename Body>
int RunRanks(int num_ranks, Body body) {
  std::string directory = (std::filesystem::temp_directory_path() / "ranks-XXXXXX").string();
  LONGHAND_CHECK(mkdtemp(directory.data()) != nullptr);
  std::fflush(stdout);  // Else every child would print it again.
  std::vector<pid_t> ranks;
  for (int rank = 0; rank < num_ranks; ++rank) {
    ranks.push_back(fork());
    if (ranks.back() == 0) {
      DirectoryStore store(directory);
      const int status = body(rank, store);
      std::fflush(stdout);
      _exit(status);
    }
  }
  int first = 0;
  for (const pid_t rank : ranks) {
    int status = 0;
    waitpid(rank, &status, 0);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (first == 0) first = code;
  }
  std::filesystem::remove_all(directory);
  return first;
}

}  // namespace longhand::bench
