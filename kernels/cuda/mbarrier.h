// Barriers in shared memory, of sm_90 (PTX's mbarrier), and barriers with a number (bar.sync,
// bar.arrive): how warps that fill shared memory and warps that read it wait for each other.
#pragma once

#include "kernels/cuda/mma.h"

#if !defined(__CUDACC__)
#include "kernels/emulation/mbarrier.h"
#endif

namespace longhand::kernels::LONGHAND_DEVICE {

// Goes through phases: 0, 1, 0, 1 ... One ends when as many arrivals came as it was told, and the
// bytes that they expect.
struct alignas(8) MBarrier {
  uint64_t state;
};

// By one thread; the others may use it behind a barrier of all.
__device__ __forceinline__ void Prepare(MBarrier& barrier, int arrivals) {
#if defined(__CUDACC__)
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(SharedAddress(&barrier)), "r"(arrivals)
               : "memory");
#else
  emulation::PrepareMBarrier(&barrier.state, arrivals);
#endif
}

__device__ __forceinline__ void Arrive(MBarrier& barrier) {
#if defined(__CUDACC__)
  asm volatile(
      "{\n"
      ".reg .b64 state;\n"
      "mbarrier.arrive.shared.b64 state, [%0];\n"
      "}\n" ::"r"(SharedAddress(&barrier))
      : "memory");
#else
  emulation::ArriveAtMBarrier(&barrier.state, 0);
#endif
}

// Arrives, and lets the phase wait for so many bytes that the copy engine is to bring.
__device__ __forceinline__ void ArriveExpecting(MBarrier& barrier, int bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(&barrier)),
      "r"(bytes)
      : "memory");
#elif !defined(__CUDACC__)
  emulation::ArriveAtMBarrier(&barrier.state, bytes);
#else
  (void)barrier, (void)bytes;
#endif
}

// By the thread that prepared barriers: they are there for the copy engine too, behind a barrier of
// all.
__device__ __forceinline__ void PublishPrepared() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// Arrives, for this thread, once all of its copies that began so far have landed.
__device__ __forceinline__ void ArriveAfterCopies(MBarrier& barrier) {
#if defined(__CUDACC__)
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(SharedAddress(&barrier))
               : "memory");
#else
  emulation::ArriveAfterCopies(&barrier.state);
#endif
}

// Until the phase of this parity has ended. Of a barrier in its first phase, that is true of 1.
__device__ __forceinline__ void WaitFor(MBarrier& barrier, int parity) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared.b64 ended, [%0], %1;\n"
      "@!ended bra again;\n"
      "}\n" ::"r"(SharedAddress(&barrier)),
      "r"(parity)
      : "memory");
#elif !defined(__CUDACC__)
  emulation::WaitForMBarrier(&barrier.state, parity);
#else
  (void)barrier, (void)parity;
#endif
}

// A place in a ring, and the parity of the phase that its barriers are in there.
template <int kStages>
struct RingPosition {
  int stage = 0, parity = 0;
  __device__ __forceinline__ void Advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// Barrier `id`, 1 to 15, of `num_threads` threads in all: whole warps that wait there, or only
// arrive.
__device__ __forceinline__ void WaitAt(int id, int num_threads) {
#if defined(__CUDACC__)
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
#else
  emulation::Barrier(id, num_threads);
#endif
}
__device__ __forceinline__ void ArriveAt(int id, int num_threads) {
#if defined(__CUDACC__)
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
#else
  emulation::ArriveAtBarrier(id, num_threads);
#endif
}
// Waits, and says whether any of them had the predicate.
__device__ __forceinline__ bool WaitForAnyAt(int id, int num_threads, bool predicate) {
#if defined(__CUDACC__)
  int any;
  asm volatile(
      "{\n"
      ".reg .pred mine, any;\n"
      "setp.ne.s32 mine, %3, 0;\n"
      "bar.red.or.pred any, %1, %2, mine;\n"
      "selp.s32 %0, 1, 0, any;\n"
      "}\n"
      : "=r"(any)
      : "r"(id), "r"(num_threads), "r"(static_cast<int>(predicate))
      : "memory");
  return any != 0;
#else
  return emulation::BarrierOr(id, num_threads, predicate);
#endif
}

// The registers that each thread of this warpgroup may have from here on; all of it, and each
// warpgroup of the block, must say so.
template <int kRegisters>
__device__ __forceinline__ void GiveRegisters() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
