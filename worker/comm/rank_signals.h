// RankSignals: how ranks on one host tell each other how far they are, and wait for it.
//
// Each rank publishes events, numbers that only grow (modulo 2^32), in its RankControl. What a rank
// wrote before Publish(e) is visible to whoever returned from WaitFor(rank, e).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "common/status.h"
#include "worker/comm/shared_segment.h"

namespace longhand::comm {

class RankSignals {
 public:
  // A wait spins for at most `spin` before it sleeps: less after waits that no spin would have met.
  RankSignals(SharedSegment& segment, int rank, std::chrono::nanoseconds spin);

  // The methods below but Abort() belong to the thread that owns the communicator.

  void set_deadline(std::chrono::steady_clock::time_point deadline) { deadline_ = deadline; }
  void Publish(uint32_t event);
  // kDeadlineExceeded, kAborted, or kUnavailable when the awaited rank left without getting there.
  Status WaitFor(int rank, uint32_t event);
  Status WaitForAll(uint32_t event);
  // Peers that wait for this rank fail from now on. For the last event of a communicator, whatever
  // ended it.
  void Leave();

  // Any thread: pending and later waits of this rank fail with kAborted.
  void Abort();
  bool aborted() const { return aborted_.load(); }

 private:
  bool Reached(int rank, uint32_t event) const;
  bool Spin(int rank, uint32_t event) const;
  void LearnFrom(std::chrono::nanoseconds waited);
  Status SleepUntil(int rank, uint32_t event);
  Status WhyNotWait(int rank) const;
  void WakePeers();

  SharedSegment& segment_;
  const int rank_;
  const int size_;
  const std::chrono::nanoseconds spin_;
  std::chrono::nanoseconds patience_;  // how long the next wait spins
  std::atomic<bool> aborted_{false};
  std::chrono::steady_clock::time_point deadline_;
};

}  // namespace longhand::comm
