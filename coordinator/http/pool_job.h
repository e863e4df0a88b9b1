// Work on the input pool that a handler waits for.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "common/out_of_memory.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/http/exchange.h"

namespace longhand::http {

// What `work` returns, or why there is no room for it. It is waited for also when the client
// leaves: it may borrow from the coroutine.
template <typename T>
boost::asio::awaitable<Result<T>> OnPool(Exchange& exchange,
                                         api::InputPool& pool,
                                         std::function<Result<T>()> work) {
  struct Job {
    std::atomic<bool> is_done = false;
    std::optional<Result<T>> result;
  };
  const auto job = std::make_shared<Job>();  // shared by the two threads
  const Status queued = pool.Submit([job, work = std::move(work), wake = exchange.waker()] {
    job->result.emplace(RefuseWithoutMemory(work));
    job->is_done = true;
    wake();
  });
  if (!queued.ok()) co_return queued;
  while (!job->is_done) co_await exchange.Sleep(std::nullopt);
  co_return std::move(*job->result);
}

}  // namespace longhand::http
