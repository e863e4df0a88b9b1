// What the heartbeats of a group say of it: who is not heard, who is stuck, whether steps come on.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/cluster/heartbeat.h"

namespace longhand::cluster {

// A thread that computes shows at least five times a second that it turns.
inline constexpr Duration kStillLimit = std::chrono::milliseconds(1500);

// A rank that has not been heard for longer than `limit`; -1 for none.
int32_t FindSilentRank(const std::vector<Heartbeat>& ranks, Duration limit);

// Whether operations of a device that tells no pieces may take longer than any limit here.
enum class Operations { kLong, kShort };

// A rank whose own thread has not turned for longer than `limit`, and waits for nobody. -1 for
// none.
int32_t FindStuckRank(const std::vector<Heartbeat>& ranks, Duration limit, Operations operations);

// Why no tokens come from the group, if so; empty while it makes progress or has nothing to do.
// `operation_limit`: what an operation of a device that tells no pieces may take.
std::string WhyStalled(const std::vector<Heartbeat>& ranks, Duration operation_limit);

}  // namespace longhand::cluster
