#include "kernels/emulation/mbarrier.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/emulation/machine.h"

namespace longhand::kernels::emulation {
namespace {

constexpr uint32_t kPrepared = 0xba;

struct MBarrier {
  uint32_t prepared : 8, phase : 1, arrivals : 11, missing : 11, unused : 1;
  int32_t bytes;  // that are still expected: less than 0 where they come earlier
};

MBarrier Load(const uint64_t* barrier) {
  CheckShared("mbarrier", barrier, sizeof(uint64_t), alignof(uint64_t));
  const auto state = std::bit_cast<MBarrier>(*barrier);
  if (state.prepared != kPrepared) Fail("a barrier in shared memory that nobody prepared");
  return state;
}

// Ends the phase if nothing is missing.
void Store(uint64_t* barrier, MBarrier state) {
  const bool ended = state.missing == 0 && state.bytes == 0;
  if (ended) {
    state.missing = state.arrivals;
    state.phase ^= 1u;
  }
  *barrier = std::bit_cast<uint64_t>(state);
  if (ended) Wake(barrier);
}

// Chunk by chunk of 16 bytes, of which the first dimension has whole ones.
void LandBox(const Landing& landing) {
  constexpr int64_t kElementBytes = 2, kChunkBytes = 16, kChunk = kChunkBytes / kElementBytes;
  constexpr int64_t kRowBytes = 128;
  const BoxMap& map = landing.from;
  int64_t bytes = kElementBytes;
  for (int d = 0; d < map.rank; ++d) bytes *= map.box[d];
  for (int64_t at = 0; at < bytes; at += kChunkBytes) {
    int64_t rest = at / kElementBytes, offset = 0, exist = kChunk;
    for (int d = 0; d < map.rank; ++d) {
      const int64_t place = landing.first[d] + rest % map.box[d];
      rest /= map.box[d];
      offset += place * (d == 0 ? kElementBytes : map.strides[d]);
      if (place < 0 || place >= map.sizes[d]) exist = 0;
      if (d == 0) exist = std::clamp<int64_t>(map.sizes[0] - place, 0, exist);
    }
    char* to = static_cast<char*>(landing.to) +
               (map.is_swizzled ? at ^ at / kRowBytes % 8 * kChunkBytes : at);
    std::memset(to, 0, kChunkBytes);
    TheMachine().WrittenAt(to) = 0;
    const auto existing_bytes = static_cast<size_t>(exist * kElementBytes);
    if (exist > 0) std::memcpy(to, static_cast<const char*>(map.data) + offset, existing_bytes);
    t_bytes_copied += exist * kElementBytes;
  }
  auto* barrier = static_cast<uint64_t*>(const_cast<void*>(landing.place));
  MBarrier state = Load(barrier);
  state.bytes -= static_cast<int32_t>(bytes);
  Store(barrier, state);
}

}  // namespace

void PrepareMBarrier(uint64_t* barrier, int arrivals) {
  CheckShared("mbarrier.init", barrier, sizeof(uint64_t), alignof(uint64_t));
  if (arrivals < 1 || arrivals > 1024) Fail("a barrier of %d arrivals", arrivals);
  const auto count = static_cast<uint32_t>(arrivals);
  *barrier = std::bit_cast<uint64_t>(MBarrier{kPrepared, 0, count, count, 0, 0});
}

void ArriveAtMBarrier(uint64_t* barrier, int expected_bytes) {
  MBarrier state = Load(barrier);
  if (state.missing == 0) Fail("more arrivals at a barrier in shared memory than it takes");
  state.missing = (state.missing - 1u) & 0x7ffu;
  state.bytes += expected_bytes;
  Store(barrier, state);
}

void WaitForMBarrier(const uint64_t* barrier, int parity) {
  while (Load(barrier).phase == static_cast<uint32_t>(parity)) {
    if (!LandCopies(barrier)) Sleep("mbarrier.try_wait", barrier);
  }
}

void CopyBox(void* to_shared, const BoxMap& map, const int* first, uint64_t* barrier) {
  constexpr size_t kAlignment = 128, kAtomBytes = 1024;
  Landing landing = {barrier, &LandBox, map, to_shared, {}};
  size_t bytes = 2;
  for (int d = 0; d < map.rank; ++d) {
    landing.first[d] = first[d];
    bytes *= static_cast<size_t>(map.box[d]);
  }
  CheckShared("cp.async.bulk.tensor", to_shared, bytes, map.is_swizzled ? kAtomBytes : kAlignment);
  (void)Load(barrier);
  Await(landing);
}

}  // namespace longhand::kernels::emulation
