// Host versions of what kernels/cuda/mbarrier.h wraps.
#pragma once

#include <cstdint>

namespace longhand::kernels::emulation {

// A barrier in shared memory. Found: one that nobody prepared, more arrivals than a phase takes.
void PrepareMBarrier(uint64_t* barrier, int arrivals);
void ArriveAtMBarrier(uint64_t* barrier);
void WaitForMBarrier(const uint64_t* barrier, int parity);

}  // namespace longhand::kernels::emulation
