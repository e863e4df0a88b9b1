// What another thread tells a handler, once.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "coordinator/http/exchange.h"

namespace longhand::http {

// `begin` gets what is to be called with the value, once, from any thread. Nothing when the client
// left first: the work goes on without it.
template <typename T>
boost::asio::awaitable<std::optional<T>> WhenTold(
    Exchange& exchange, std::function<void(std::function<void(const T&)>)> begin) {
  struct Told {
    std::atomic<bool> is_there = false;
    T value;
  };
  const auto told = std::make_shared<Told>();  // shared with the thread that tells
  begin([told, wake = exchange.waker()](const T& value) {
    told->value = value;
    told->is_there = true;
    wake();
  });
  while (!told->is_there && !exchange.gone()) co_await exchange.Sleep(std::nullopt);
  if (!told->is_there) co_return std::nullopt;
  co_return std::move(told->value);
}

}  // namespace longhand::http
