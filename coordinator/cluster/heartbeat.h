// Heartbeat: what one worker's pulses say of it. The time that counts is the time in which somebody
// listened: a coordinator that was stopped itself has not waited for anybody.
#pragma once

#include <cstdint>

#include "common/clock.h"
#include "common/pulse_state.h"

namespace longhand::cluster {

// Not thread-safe; WorkerLink guards it.
class Heartbeat {
 public:
  void OnPulse(const PulseState& pulse) {
    silent_for_ = Duration::zero();
    if (pulse.progress != latest_.progress) still_for_ = Duration::zero();
    latest_ = pulse;
  }
  // So much time has passed, in which pulses were listened for.
  void OnTime(Duration passed) {
    silent_for_ += passed;
    still_for_ += passed;
  }

  // Since the latest pulse.
  Duration silent_for() const { return silent_for_; }
  // Since the thread that computes has shown that it turns, by as much as was listened.
  Duration still_for() const { return still_for_; }
  const PulseState& latest() const { return latest_; }

 private:
  PulseState latest_;
  Duration silent_for_{};
  Duration still_for_{};
};

}  // namespace longhand::cluster
