#include "kernels/cuda/runtime.h"

#include <cstring>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/host_memory.h"

namespace longhand::kernels {
namespace emulated {

Result<std::unique_ptr<Buffer>> AllocateMemory(const Stream& stream, size_t bytes) {
  ++stream.num_allocations;
  return AllocateHost(bytes);
}

Result<std::unique_ptr<Buffer>> AllocateStaging(const Stream& stream, size_t bytes) {
  ++stream.num_allocations;
  return AllocateHost(bytes);
}

Status CopyToDevice(const Stream&, void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
  return OkStatus();
}

Status CopyToHost(const Stream&, void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
  return OkStatus();
}

Status WaitFor(const Stream&) { return OkStatus(); }

}  // namespace emulated

Result<std::unique_ptr<CudaOps>> CreateEmulatedOps(const EmulationOptions& options) {
  if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2")) {
    return Unimplemented("the emulated backend needs a CPU with AVX2 and FMA");
  }
  const emulated::Stream stream{.schedule_seed = options.schedule_seed,
                                .num_multiprocessors = options.num_multiprocessors};
  return emulated::MakeOps("emulated", stream, [](emulated::Stream&) {});
}

}  // namespace longhand::kernels
