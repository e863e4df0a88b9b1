#include "worker/service/steady_timer.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <vector>

namespace longhand::service {
namespace {

using std::chrono::milliseconds;

TEST(SteadyTimer, CallsInTheOrderOfTheirTimes) {
  std::vector<int> called;  // by the timer's thread, until all were
  std::promise<void> all;
  SteadyTimer timer;
  timer.After(milliseconds(60), [&] {
    called.push_back(3);
    all.set_value();
  });
  timer.After(milliseconds(1), [&] {
    called.push_back(1);
    timer.After(milliseconds(1), [&] { called.push_back(2); });  // From the timer's own thread.
  });
  all.get_future().wait();
  EXPECT_EQ(called, (std::vector{1, 2, 3}));
}

TEST(SteadyTimer, WhatIsNotDueAtItsEndIsForgotten) {
  const auto held = std::make_shared<int>();  // with the call
  bool is_called = false;
  {
    SteadyTimer timer;
    timer.After(std::chrono::hours(1), [&, held] { is_called = true; });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_FALSE(is_called);
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace longhand::service
