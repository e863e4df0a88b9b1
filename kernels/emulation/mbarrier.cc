#include "kernels/emulation/mbarrier.h"

#include <bit>

#include "kernels/emulation/grid.h"

namespace longhand::kernels::emulation {
namespace {

constexpr uint16_t kPrepared = 0xba22;

struct MBarrier {
  uint16_t prepared, arrivals, missing, phase;
};

MBarrier Load(const uint64_t* barrier) {
  CheckShared("mbarrier", barrier, sizeof(uint64_t), alignof(uint64_t));
  const auto state = std::bit_cast<MBarrier>(*barrier);
  if (state.prepared != kPrepared) Fail("a barrier in shared memory that nobody prepared");
  return state;
}

}  // namespace

void PrepareMBarrier(uint64_t* barrier, int arrivals) {
  CheckShared("mbarrier.init", barrier, sizeof(uint64_t), alignof(uint64_t));
  if (arrivals < 1 || arrivals > 1024) Fail("a barrier of %d arrivals", arrivals);
  const auto count = static_cast<uint16_t>(arrivals);
  *barrier = std::bit_cast<uint64_t>(MBarrier{kPrepared, count, count, 0});
}

void ArriveAtMBarrier(uint64_t* barrier) {
  MBarrier state = Load(barrier);
  if (--state.missing == 0) {
    state.missing = state.arrivals;
    state.phase ^= 1;
  }
  const bool ended = state.missing == state.arrivals;
  *barrier = std::bit_cast<uint64_t>(state);
  if (ended) Wake(barrier);
}

void WaitForMBarrier(const uint64_t* barrier, int parity) {
  while (Load(barrier).phase == parity) {
    if (!LandCopies(barrier)) Sleep("mbarrier.try_wait", barrier);
  }
}

}  // namespace longhand::kernels::emulation
