// What a .cu file needs beyond CUDA's own words: its namespace, a launch that reports errors, and
// the few instructions that have no function in CUDA C++ (mma.h). nvcc compiles the file for a GPU,
// in namespace cuda; g++ compiles it for kernels/emulation, in namespace emulated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "kernels/cuda/counted_bytes.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define LONGHAND_DEVICE cuda
#else
#include "kernels/emulation/cuda_language.h"
#include "kernels/emulation/late_work.h"
#define LONGHAND_DEVICE emulated
#endif

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Where an Ops enqueues its work.
struct Stream {
#if defined(__CUDACC__)
  cudaStream_t handle = nullptr;
  bool overlaps = false;  // launches that begin early do so
#else
  uint64_t schedule_seed = 0;
  bool refuses_recordings = false;
  bool multiplies_fp8 = true;
  // Where launches go instead of being run: with the arguments that they have now.
  std::vector<emulation::NotedLaunch>* recorder = nullptr;
  // Of a device that runs apart; else work is done where it is enqueued. Shared with staging
  // memory, which goes after the stream.
  std::shared_ptr<emulation::LateWork> late;
#endif
  int num_multiprocessors = 1;
  int shared_bytes = 227 << 10;         // that a block may have
  bool may_have_wgmma = false;          // trials say whether it has mma.sync's bits
  bool recording = false;               // launches are noted: nothing else may happen
  int num_recordings = 0;               // that are kept: they know where the workspaces are
  mutable int64_t num_allocations = 0;  // so far
  mutable ByteCount device_memory, staging_memory;
  mutable int64_t num_launches = 0;                // so far; replays do not count
  bool times_kernels = false;                      // of the same bits, to choose between them
  std::set<std::string_view>* launched = nullptr;  // gets the names, where it is there

  void CountLaunch(const char* name) const {
    ++num_launches;
    if (launched != nullptr) launched->insert(name);
  }
};

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  // The kernel calls WaitForPrevious: it may begin while what was enqueued before it ends.
  bool begins_early = false;
};

#if defined(__CUDACC__)

// kInternal when the launch is refused; what fails while the kernel runs shows in Synchronize.
template <typename... Parameters, typename... Arguments>
Status Launch(const char* name,
              const Stream& stream,
              const LaunchShape& shape,
              void (*kernel)(Parameters...),
              Arguments&&... arguments) {
  stream.CountLaunch(name);
  constexpr size_t kSharedWithoutAsking = 48 << 10;
  cudaError_t error = cudaSuccess;
  if (shape.shared_bytes > kSharedWithoutAsking) {
    error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shape.shared_bytes));
  }
  if (error == cudaSuccess) {
    cudaLaunchAttribute early;
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = stream.handle;
    config.attrs = &early;
    config.numAttrs = shape.begins_early && stream.overlaps ? 1 : 0;
    error = cudaLaunchKernelEx(&config, kernel,
                               static_cast<Parameters>(std::forward<Arguments>(arguments))...);
  }
  if (error == cudaSuccess) return OkStatus();
  cudaGetLastError();
  return Internal("launch of ", name, ": ", cudaGetErrorString(error));
}

// In a kernel that begins early: returns when all that was enqueued before it has ended, and its
// writes are there. Before that a thread reads what no kernel writes, and writes nothing. Every
// thread that goes on calls it, so that what waits for this kernel has waited for those before.
__device__ __forceinline__ void WaitForPrevious() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next kernel may begin, once all of this one's blocks have said so or ended.
__device__ __forceinline__ void LetNextBegin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

template <typename T>
__device__ __forceinline__ T* DynamicShared() {
  extern __shared__ __align__(128) unsigned char longhand_dynamic_shared[];
  return reinterpret_cast<T*>(longhand_dynamic_shared);
}

#else

template <typename... Parameters, typename... Arguments>
Status Launch(const char* name,
              const Stream& stream,
              const LaunchShape& shape,
              void (*kernel)(Parameters...),
              Arguments&&... arguments) {
  stream.CountLaunch(name);
  const emulation::LaunchConfig config{shape.grid, shape.block, shape.shared_bytes,
                                       stream.schedule_seed, shape.begins_early};
  if (stream.recorder != nullptr || stream.late != nullptr) {
    auto launch = [=] {
      return emulation::Launch(name, config, kernel, static_cast<Parameters>(arguments)...);
    };
    if (stream.recorder != nullptr) {
      stream.recorder->push_back({std::move(launch), shape.begins_early});
    } else {
      stream.late->Add(std::move(launch));
    }
    return OkStatus();
  }
  return emulation::Launch(name, config, kernel,
                           static_cast<Parameters>(std::forward<Arguments>(arguments))...);
}

inline void WaitForPrevious() { emulation::WaitForPrevious(); }
inline void LetNextBegin() {}

template <typename T>
T* DynamicShared() {
  return static_cast<T*>(emulation::DynamicShared());
}

#endif

}  // namespace longhand::kernels::LONGHAND_DEVICE
