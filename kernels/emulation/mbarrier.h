// Host versions of what kernels/cuda/mbarrier.h and tensor_map.h wrap.
#pragma once

#include <cstdint>

namespace longhand::kernels::emulation {

// A barrier in shared memory. Found: one that nobody prepared, more arrivals than a phase takes.
void PrepareMBarrier(uint64_t* barrier, int arrivals);
// The phase waits for so many bytes more.
void ArriveAtMBarrier(uint64_t* barrier, int expected_bytes);
void WaitForMBarrier(const uint64_t* barrier, int parity);

// A tensor in global memory of which cp.async.bulk.tensor brings boxes. The first size counts
// elements of two bytes, which follow each other; strides are in bytes.
struct BoxMap {
  const void* data;
  int rank;
  int64_t sizes[5], strides[5];
  int box[5];
  bool is_swizzled;  // rows of 128 bytes in the 128-byte swizzle
};
// From `first` on, [rank]; zeros where the tensor has ended. Lands while someone waits for the
// barrier.
void CopyBox(void* to_shared, const BoxMap& map, const int* first, uint64_t* barrier);

}  // namespace longhand::kernels::emulation
