#include "worker/comm/rank_signals.h"

#include "worker/comm/futex.h"

namespace longhand::comm {
namespace {

// Between two looks at the clock a spin polls this often: about a microsecond.
constexpr int kPollsPerClockRead = 32;

void PauseCpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// All atomics below are sequentially consistent unless they say otherwise: a sleeper sets
// `sleeping` and then looks at the event, a publisher stores the event and then looks at
// `sleeping`; one of them must see the other.

RankSignals::RankSignals(SharedSegment& segment, int rank, std::chrono::nanoseconds spin)
    : segment_(segment),
      rank_(rank),
      size_(segment.shape().num_ranks),
      spin_(spin),
      patience_(spin) {}

bool RankSignals::Reached(int rank, uint32_t event) const {
  // The difference is signed, so that the numbers may wrap.
  return static_cast<int32_t>(segment_.control(rank).progress.load() - event) >= 0;
}

void RankSignals::Publish(uint32_t event) {
  segment_.control(rank_).progress.store(event);
  WakePeers();
}

void RankSignals::WakePeers() {
  for (int peer = 0; peer < size_; ++peer) {
    RankControl& control = segment_.control(peer);
    if (peer == rank_ || control.sleeping.load() == 0) continue;
    control.doorbell.fetch_add(1);
    FutexWakeAll(control.doorbell);
  }
}

void RankSignals::Leave() {
  segment_.control(rank_).left.store(1);
  WakePeers();
}

void RankSignals::Abort() {
  aborted_.store(true);
  RankControl& mine = segment_.control(rank_);
  mine.doorbell.fetch_add(1);
  FutexWakeAll(mine.doorbell);
}

Status RankSignals::WaitForAll(uint32_t event) {
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) LONGHAND_RETURN_IF_ERROR(WaitFor(peer, event));
  }
  return OkStatus();
}

Status RankSignals::WaitFor(int rank, uint32_t event) {
  if (Reached(rank, event)) return OkStatus();
  const auto start = std::chrono::steady_clock::now();
  if (Spin(rank, event)) return OkStatus();
  RankControl& mine = segment_.control(rank_);
  mine.sleeping.store(1);
  const Status status = SleepUntil(rank, event);
  mine.sleeping.store(0);
  LearnFrom(std::chrono::steady_clock::now() - start);
  return status;
}

// Where other processes hold the core of the awaited rank, waits last for their time slices, and
// spinning takes from all. Waking takes about as long as a whole spin.
void RankSignals::LearnFrom(std::chrono::nanoseconds waited) {
  patience_ = waited < 2 * spin_ ? spin_ : patience_ / 2;
}

bool RankSignals::Spin(int rank, uint32_t event) const {
  if (spin_.count() == 0) return false;
  const auto until = std::chrono::steady_clock::now() + patience_;
  do {
    for (int poll = 0; poll < kPollsPerClockRead; ++poll) {
      if (Reached(rank, event)) return true;
      PauseCpu();
    }
  } while (!aborted() && std::chrono::steady_clock::now() < until);
  return false;
}

Status RankSignals::SleepUntil(int rank, uint32_t event) {
  RankControl& mine = segment_.control(rank_);
  for (;;) {
    // Taken before the looks below: a ring after them ends the sleep at once.
    const uint32_t doorbell = mine.doorbell.load();
    Status why_not = WhyNotWait(rank);
    // Looked at last: a peer that published this event and then left did arrive.
    if (Reached(rank, event)) return OkStatus();
    if (!why_not.ok()) return why_not;
    FutexWait(mine.doorbell, doorbell, deadline_ - std::chrono::steady_clock::now());
  }
}

Status RankSignals::WhyNotWait(int rank) const {
  if (aborted()) return Aborted("the communicator was aborted");
  if (segment_.control(rank).left.load() == 1) return Unavailable("rank ", rank, " left the group");
  if (std::chrono::steady_clock::now() >= deadline_) {
    return DeadlineExceeded("rank ", rank, " did not arrive in time");
  }
  return OkStatus();
}

}  // namespace longhand::comm
