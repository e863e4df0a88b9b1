// Rows of a data set, worked on by several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "client/chat/chat_options.h"
#include "client/dataset/dataset.h"
#include "common/status.h"

namespace longhand::client {

struct KeyedRow {
  std::string key;
  DatasetRow row;
};

// Told of rows as they end. Any thread. On a terminal a line that changes; otherwise failures only.
class RowProgress {
 public:
  RowProgress(std::string what, bool is_quiet);

  void OnDone();
  void OnFailure(const std::string& key, const Status& why);
  void Close();
  int64_t num_failed() const { return num_failed_; }

 private:
  void Draw();

  const std::string what_;
  const bool has_line_;
  std::mutex mutex_;
  int64_t num_done_ = 0, num_failed_ = 0;
};

// Threads take rows from `next`, which is called by one at a time, until it has none or has failed;
// each has a model of its own. An error of `work` is that row's alone, and goes to `progress`.
struct RowWork {
  std::function<Result<std::optional<KeyedRow>>()> next;
  std::function<Status(ChatModel&, const KeyedRow&)> work;
};
// The error of `next`, if any.
Status ForEachRow(int num_threads,
                  const ChatFactory& make_model,
                  const RowWork& work,
                  RowProgress& progress);

}  // namespace longhand::client
