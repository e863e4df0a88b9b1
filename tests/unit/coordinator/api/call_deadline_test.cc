#include "coordinator/api/call_deadline.h"

#include <gtest/gtest.h>

namespace longhand::api {
namespace {

using std::chrono::seconds;

TimePoint After(gpr_timespec left) {
  return SteadyDeadline(gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), left));
}

TEST(CallDeadline, ADeadlineKeepsItsDistance) {
  const TimePoint now = std::chrono::steady_clock::now();
  const TimePoint deadline = After(gpr_time_from_minutes(10, GPR_TIMESPAN));
  EXPECT_GE(deadline, now + seconds(599));
  EXPECT_LT(deadline, now + seconds(660));
  EXPECT_LT(After(gpr_time_from_seconds(-5, GPR_TIMESPAN)), now);
}

TEST(CallDeadline, WhatIsFartherThanAClockReachesIsNone) {
  EXPECT_EQ(SteadyDeadline(gpr_inf_future(GPR_CLOCK_REALTIME)), TimePoint::max());
  for (const int64_t hours : {2562047, 99999999}) {  // 2^63 ns; the longest that the wire can say
    EXPECT_EQ(After(gpr_time_from_hours(hours, GPR_TIMESPAN)), TimePoint::max());
  }
}

}  // namespace
}  // namespace longhand::api
