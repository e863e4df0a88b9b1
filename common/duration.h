// Durations as the numbers that metrics, messages and protos want.
#pragma once

#include <chrono>
#include <cstdint>

#include "common/clock.h"

namespace longhand {

inline double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// Rounded towards zero.
inline int64_t Milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace longhand
