// PulseState: what a worker's heartbeat tells; worker.proto's Pulse says it in full.
#pragma once

#include <cstdint>

namespace longhand {

struct PulseState {
  int64_t epoch = 0;
  uint64_t progress = 0;
  bool is_busy = false;
  bool waits_for_peers = false;
  bool tells_pieces = false;
};

}  // namespace longhand
