#include "tests/conformance/backends.h"

#include <utility>

#include "kernels/cpu/cpu_ops.h"

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

}  // namespace

Result<Backend> MakeBackend(const std::string& name, int num_threads) {
  if (name == "reference") {
    Backend backend;
    backend.ops = kernels::CreateReferenceOps();
    return backend;
  }
  if (name == "cpu") return MakeCpu(num_threads);
  if (name == "emulated" || name == "cuda") {
    return Unimplemented("the backend \"", name, "\" is not built into this program");
  }
  return InvalidArgument("the backend is \"", name,
                         "\"; it must be reference, cpu, emulated or cuda");
}

}  // namespace longhand::conformance
