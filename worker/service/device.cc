#include "worker/service/device.h"

#include <utility>

#include "common/host_memory.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cuda/cuda_ops.h"
#include "worker/comm/host_identity.h"
#ifdef LONGHAND_WITH_CUDA
#include "worker/service/cuda_device.h"
#endif

namespace longhand::service {
namespace {

constexpr int kMaxThreads = 1024;

Result<Device> OpenCpu(int num_threads) {
  using kernels::cpu::InstructionSet;
  Status lacking;
  for (const auto& [set, name] :
       {std::pair{InstructionSet::kAvx512, "avx512"}, std::pair{InstructionSet::kAvx2, "avx2"}}) {
    auto ops = kernels::cpu::CreateCpuOpsFor(set, num_threads);
    if (ops.ok()) {
      return Device{.ops = std::move(ops).value(),
                    .name = "cpu",
                    .instruction_set = name,
                    .num_threads = num_threads};
    }
    lacking = ops.status();
  }
  return lacking;
}

// The kernels of --device cuda, on the host: for tests, and slow.
Result<Device> OpenEmulated() {
  LONGHAND_ASSIGN_OR_RETURN(auto ops, kernels::CreateEmulatedOps());
  PeerDevice* peers = ops.get();
  return Device{
      .ops = std::move(ops), .peers = peers, .name = "emulated", .instruction_set = "sm_80"};
}

Result<Device> OpenCuda(int device_idx) {
#ifdef LONGHAND_WITH_CUDA
  return OpenCudaDevice(device_idx);
#else
  return Unimplemented("device ", device_idx,
                       " of --device cuda: this build is without CUDA; build where nvcc is "
                       "found (scripts/setup --cuda installs one), or take --device cpu");
#endif
}

Result<Device> OpenHostDevice(const std::string& name, int num_threads) {
  if (name == "cpu") return OpenCpu(num_threads);
  if (name == "emulated") return OpenEmulated();
  if (name == "reference") {
    return Device{.ops = kernels::CreateReferenceOps(), .name = name, .instruction_set = "none"};
  }
  return InvalidArgument("--device is '", name, "'; it must be cpu, cuda, emulated or reference");
}

}  // namespace

int64_t HostMemoryBytes() {
  const HostMemory memory = ReadHostMemory();
  return memory.Within(memory.total_bytes);
}

Result<Device> OpenDevice(const std::string& name, int num_threads, int device_idx) {
  if (num_threads < 1 || num_threads > kMaxThreads) {
    return InvalidArgument("--threads is ", num_threads, "; it must be from 1 to ", kMaxThreads);
  }
  if (name == "cuda") return OpenCuda(device_idx);
  LONGHAND_ASSIGN_OR_RETURN(Device device, OpenHostDevice(name, num_threads));
  device.memory_bytes = HostMemoryBytes();
  device.memory_identity = comm::HostIdentity();
  return device;
}

}  // namespace longhand::service
