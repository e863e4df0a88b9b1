#include "tests/conformance/backends.h"

#include <utility>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cuda/cuda_ops.h"

namespace longhand::conformance {
namespace {

using kernels::cpu::CreateCpuOpsFor;
using kernels::cpu::InstructionSet;

void AddTwin(const std::string& name, InstructionSet set, int num_threads, Backend& backend) {
  auto ops = CreateCpuOpsFor(set, num_threads);
  if (ops.ok()) backend.twins.push_back({name, std::move(*ops)});
}

Result<Backend> MakeCpu(int num_threads) {
  Backend backend;
  LONGHAND_ASSIGN_OR_RETURN(backend.ops, kernels::CreateCpuOps(num_threads));
  AddTwin("AVX-512, 1 thread", InstructionSet::kAvx512, 1, backend);
  AddTwin("AVX-512, 3 threads", InstructionSet::kAvx512, 3, backend);
  AddTwin("AVX2, 1 thread", InstructionSet::kAvx2, 1, backend);
  AddTwin("AVX2, 3 threads", InstructionSet::kAvx2, 3, backend);
  return backend;
}

// The twin has another order of threads, as many multiprocessors as a GPU, and no products of fp8:
// none of it may show.
Result<Backend> MakeEmulated(uint64_t schedule_seed) {
  Backend backend;
  backend.in_host_memory = false;
  LONGHAND_ASSIGN_OR_RETURN(
      backend.ops, kernels::CreateEmulatedOps(
                       {.schedule_seed = schedule_seed, .launched = backend.launched.get()}));
  if (schedule_seed != 0) return backend;
  LONGHAND_ASSIGN_OR_RETURN(
      auto twin, kernels::CreateEmulatedOps(
                     {.schedule_seed = 1, .num_multiprocessors = 132, .multiplies_fp8 = false}));
  backend.twins.push_back({"shuffled schedule, 132 multiprocessors, fp8 as bf16", std::move(twin)});
  return backend;
}

Result<Backend> MakeCuda([[maybe_unused]] bool times_kernels) {
#if defined(LONGHAND_WITH_CUDA)
  Backend backend;
  backend.in_host_memory = false;
  LONGHAND_ASSIGN_OR_RETURN(
      backend.ops, kernels::CreateCudaOps(/*device_idx=*/0, {.times_kernels = times_kernels,
                                                             .launched = backend.launched.get()}));
  return backend;
#else
  return Unimplemented("the backend \"cuda\" is not built into this program");
#endif
}

}  // namespace

Result<Backend> MakeBackend(const std::string& name,
                            int num_threads,
                            uint64_t schedule_seed,
                            bool times_kernels) {
  if (name == "reference") {
    Backend backend;
    backend.ops = kernels::CreateReferenceOps();
    return backend;
  }
  if (name == "cpu") return MakeCpu(num_threads);
  if (name == "emulated") return MakeEmulated(schedule_seed);
  if (name == "cuda") return MakeCuda(times_kernels);
  return InvalidArgument("the backend is \"", name,
                         "\"; it must be reference, cpu, emulated or cuda");
}

}  // namespace longhand::conformance
