// SumTimer: how long a sum and the norm behind it take, by each way that the ranks of a host have.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "common/peer_group.h"
#include "worker/comm/communicator.h"
#include "worker/comm/sum_ways.h"

namespace longhand::comm {

class SumTimer {
 public:
  // Sums of up to `max_bytes`. All is borrowed; `now` is asked between the calls.
  static Result<SumTimer> Create(const PeerGroup& group,
                                 PeerDevice& device,
                                 Communicator& inner,
                                 std::function<TimePoint()> now,
                                 size_t max_bytes);

  // Medians of rounds in which the ways take turns, so that what slows the device for a while slows
  // them all. Every rank times the same sizes, in the same order.
  Result<SumTimes> Time(size_t bytes);

 private:
  SumTimer(const PeerGroup& group,
           PeerDevice& device,
           Communicator& inner,
           std::function<TimePoint()> now)
      : group_(group), device_(device), inner_(inner), now_(std::move(now)) {}

  bool Fits(size_t bytes, SumWay way) const;
  Status SumAndNorm(size_t bytes, SumWay way);
  Result<double> TimeRound(size_t bytes, SumWay way);

  const PeerGroup& group_;
  PeerDevice& device_;
  Communicator& inner_;
  std::function<TimePoint()> now_;
  std::unique_ptr<PeerMemory> data_, residual_, out_, weight_;
};

}  // namespace longhand::comm
