// A client's deadline on the engine's clock.
#pragma once

#include <grpc/support/time.h>

#include <chrono>

#include "common/clock.h"

namespace longhand::api {

// TimePoint::max() for none, and for one so far away that gRPC's conversion to a time_point would
// overflow: clients that mean "never" send 292 years.
inline TimePoint SteadyDeadline(gpr_timespec deadline) {
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > 365 * 24 * 3600) return TimePoint::max();
  return std::chrono::steady_clock::now() + std::chrono::seconds(left.tv_sec) +
         std::chrono::nanoseconds(left.tv_nsec);
}

}  // namespace longhand::api
