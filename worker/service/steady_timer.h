// SteadyTimer: calls a function later, by steady time. gRPC's alarms wait for a moment of the wall
// clock: when that is set back they are late by as much, and a worker whose pulses are late is
// lost.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace longhand::service {

class SteadyTimer {
 public:
  SteadyTimer() : thread_([this] { Run(); }) {}
  // What is not due yet is never called.
  ~SteadyTimer();

  // Any thread. `call` runs on the timer's own, and must not wait.
  void After(std::chrono::milliseconds delay, std::function<void()> call);

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<TimePoint, std::function<void()>> calls_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace longhand::service
