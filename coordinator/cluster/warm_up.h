// The steps by which a group shows, before the engine relies on it, that plans are executed.
#pragma once

#include <cstdint>
#include <limits>

namespace longhand::cluster {

// The engine's own count from 1.
inline constexpr int64_t kWarmUpStep = -1;
inline constexpr int64_t kWarmUpReleaseStep = 0;
inline constexpr int64_t kWarmUpSequence = std::numeric_limits<int64_t>::max();

}  // namespace longhand::cluster
