#include "worker/service/cuda_device.h"

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string_view>
#include <utility>

#include "kernels/cuda/cuda_ops.h"
#include "worker/comm/cuda_stream.h"
#include "worker/comm/host_identity.h"

namespace longhand::service {
namespace {

// NCCL's own switch for several ranks on one GPU.
bool MayShareDevices() {
  const char* value = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  return value != nullptr && std::string_view(value) == "1";
}

Status ToStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return OkStatus();
  return Unavailable(what, ": ", cudaGetErrorString(error));
}

}  // namespace

Result<Device> OpenCudaDevice(int device_idx) {
  int count = 0;
  if (MayShareDevices() && cudaGetDeviceCount(&count) == cudaSuccess && count > 0) {
    device_idx %= count;
  }
  auto opened = kernels::CreateCudaOps(device_idx);
  if (!opened.ok()) {
    return Status(opened.status().code(),
                  opened.status().message() +
                      "; --device cuda needs a GPU of compute capability 8.0 or newer and NVIDIA's "
                      "driver for CUDA 13 (580 or newer) for each rank: look at nvidia-smi and "
                      "CUDA_VISIBLE_DEVICES, or take --device cpu");
  }
  Device device{.name = "cuda"};
  LONGHAND_ASSIGN_OR_RETURN(device.stream, comm::CreateCudaStream((*opened)->stream()));
  device.peers = opened->get();
  device.ops = std::move(opened).value();
  device.use_on_thread = [device_idx] {
    return ToStatus("cudaSetDevice", cudaSetDevice(device_idx));
  };
  device.state = [stream = static_cast<cudaStream_t>(device.stream->handle())] {
    const cudaError_t state = cudaStreamQuery(stream);
    return state == cudaErrorNotReady ? OkStatus() : ToStatus("the GPU", state);
  };

  cudaDeviceProp properties;
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, device_idx)));
  device.instruction_set =
      "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
  char bus_id[32] = "";
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("cudaDeviceGetPCIBusId", cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), device_idx)));
  device.memory_identity = comm::HostIdentity() + " " + bus_id;
  device.pci_bus_id = bus_id;
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  LONGHAND_RETURN_IF_ERROR(ToStatus("cudaMemGetInfo", cudaMemGetInfo(&free_bytes, &total_bytes)));
  device.memory_bytes = static_cast<int64_t>(total_bytes);
  device.taken_memory_bytes = static_cast<int64_t>(total_bytes - free_bytes);
  device.library_bytes = device.ops->LibraryBytes();
  return device;
}

}  // namespace longhand::service
