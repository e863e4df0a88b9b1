#include "client/rows/row_pool.h"

#include <unistd.h>

#include <cstdio>
#include <thread>
#include <vector>

namespace longhand::client {

RowProgress::RowProgress(std::string what, bool is_quiet)
    : what_(std::move(what)), has_line_(!is_quiet && isatty(STDERR_FILENO) == 1) {
  Draw();
}

void RowProgress::OnDone() {
  std::lock_guard lock(mutex_);
  ++num_done_;
  Draw();
}

void RowProgress::OnFailure(const std::string& key, const Status& why) {
  std::lock_guard lock(mutex_);
  ++num_failed_;
  std::fprintf(stderr, "%s%s: row %s: %s\n", has_line_ ? "\r\033[K" : "", what_.c_str(),
               key.c_str(), why.ToString().c_str());
  Draw();
}

void RowProgress::Close() {
  if (has_line_) std::fprintf(stderr, "\n");
}

void RowProgress::Draw() {
  if (!has_line_) return;
  std::fprintf(stderr, "\r\033[K%s: %ld rows, %ld failed", what_.c_str(), num_done_, num_failed_);
  std::fflush(stderr);
}

Status ForEachRow(int num_threads,
                  const ChatFactory& make_model,
                  const RowWork& work,
                  RowProgress& progress) {
  std::mutex mutex;
  Status error;
  bool is_over = false;
  const auto take = [&]() -> std::optional<KeyedRow> {
    std::lock_guard lock(mutex);
    if (is_over) return std::nullopt;
    Result<std::optional<KeyedRow>> row = work.next();
    is_over = !row.ok() || !row->has_value();
    if (!row.ok()) error = row.status();
    return is_over ? std::nullopt : std::move(*row);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads; ++i) {
    threads.emplace_back([&] {
      const std::unique_ptr<ChatModel> model = make_model();
      while (const std::optional<KeyedRow> row = take()) {
        const Status status = work.work(*model, *row);
        if (status.ok()) {
          progress.OnDone();
        } else {
          progress.OnFailure(row->key, status);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  progress.Close();
  return error;
}

}  // namespace longhand::client
