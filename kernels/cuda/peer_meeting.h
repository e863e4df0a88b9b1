// How blocks of several ranks' kernels wait for each other: a flag in each peer's memory, written
// with release and read with acquire semantics over the whole system, so that what a block wrote
// before can be read by its peers behind it.
//
// A wait ends when the peers have come, when the host says so (PeerControl::abort), or by itself
// after the group's timeout: a peer that hangs never hangs this device. What is computed behind a
// wait that failed is worth nothing, and the host is told.
#pragma once

#include "common/peer_group.h"
#include "kernels/cuda/device.h"

#if !defined(__CUDACC__)
#include <sched.h>

#include <chrono>
#endif

namespace longhand::kernels::LONGHAND_DEVICE {

__device__ __forceinline__ uint32_t LoadAcquire(const uint32_t* p) {
#if defined(__CUDACC__)
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(p) : "memory");
  return value;
#else
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

__device__ __forceinline__ void StoreRelease(uint32_t* p, uint32_t value) {
#if defined(__CUDACC__)
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
#else
  __atomic_store_n(p, value, __ATOMIC_RELEASE);
#endif
}

__device__ __forceinline__ uint64_t NowNs() {
#if defined(__CUDACC__)
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

// A block's own part of a group's memory.
struct PeerBlock {
  const PeerGroup& group;
  int block;
  uint32_t came, calls;  // so far

  __device__ PeerBlock(const PeerGroup& g, int b) : group(g), block(b) {
    came = Counters()[0];
    calls = Counters()[1];
  }

  __device__ uint32_t* Flag(int of_rank, int from_rank) const {
    return reinterpret_cast<uint32_t*>(group.memory[of_rank]) + block * kMaxPeers + from_rank;
  }
  __device__ uint32_t* Counters() const {
    return reinterpret_cast<uint32_t*>(group.memory[group.rank] + FlagsBytes()) + block * 2;
  }
  __device__ std::byte* Input(int of_rank) const { return Region(of_rank, 0); }
  __device__ std::byte* Sums(int of_rank) const { return Region(of_rank, 2); }

  // All threads of the block. False: give up.
  __device__ bool Meet() {
    __shared__ uint32_t failed;
    Signal(failed);
    ++came;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < group.size && !WaitFor(thread)) StoreShared(failed, 1);
    __syncthreads();
    const bool ok = LoadShared(failed) == 0;
    __syncthreads();
    return ok;
  }

  // Once, last: the call is over for this block.
  __device__ void End() const {
    __syncthreads();
    if (threadIdx.x != 0) return;
    Counters()[0] = came;
    Counters()[1] = calls + 1;
  }

 private:
  // Regions alternate from call to call: who writes this call's has seen its peers begin the one
  // before, and hence end the one before that.
  __device__ std::byte* Region(int of_rank, int kind) const {
    const int64_t at = int64_t{kind + static_cast<int>(calls & 1)} * group.max_blocks + block;
    return group.memory[of_rank] + FlagsBytes() + int64_t{group.max_blocks} * 2 * 4 +
           at * group.region_bytes;
  }
  __device__ int64_t FlagsBytes() const { return int64_t{group.max_blocks} * kMaxPeers * 4; }
  // Every peer is told before any is waited for.
  __device__ void Signal(uint32_t& failed) const {
    __syncthreads();
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0) StoreShared(failed, 0);
    if (thread < group.size) {
#if defined(__CUDACC__)
      __threadfence_system();
#endif
      StoreRelease(Flag(thread, group.rank), came + 1);
    }
    __syncthreads();
  }
  __device__ bool WaitFor(int peer) const {
    constexpr int kLooksPerCheck = 256;
    const uint32_t* flag = Flag(group.rank, peer);
    const uint64_t begin = NowNs();
    for (int look = 1; static_cast<int32_t>(LoadAcquire(flag) - came) < 0; ++look) {
      if (look % kLooksPerCheck != 0) continue;
      if (LoadAcquire(&group.control->abort) != 0) return false;
      if (NowNs() - begin > group.timeout_ns) {
        StoreRelease(&group.control->timed_out, 1);
        return false;
      }
#if !defined(__CUDACC__)
      sched_yield();
#endif
    }
    return true;
  }
  __device__ static void StoreShared(uint32_t& at, uint32_t value) {
    *static_cast<volatile uint32_t*>(&at) = value;
  }
  __device__ static uint32_t LoadShared(const uint32_t& at) {
    return *static_cast<const volatile uint32_t*>(&at);
  }
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
