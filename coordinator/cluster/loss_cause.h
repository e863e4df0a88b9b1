// Why a worker group was lost, for metrics.
#pragma once

#include <array>
#include <cstdint>

namespace longhand::cluster {

enum class LossCause : uint8_t {
  kConnection,   // a worker's process ended, or the network to it
  kSilence,      // a worker was not heard
  kStandstill,   // a worker's computing thread stood still
  kStepTimeout,  // a step took too long, and nobody knows where
  kStepError,    // a step failed, or its result was not what was planned
};

// Values of the label cause of longhand_failovers_total, in the enum's order.
inline constexpr std::array<const char*, 5> kLossCauseNames = {
    "connection", "silence", "standstill", "step_timeout", "step_error"};

}  // namespace longhand::cluster
