#include <fmt/format.h>

#include "client/doctor/gpu.h"

namespace longhand::client {
namespace {

constexpr int kLeastCuda = 13000;  // of the run-time library that the kernels are built with
constexpr int kLeastNccl = 21800;  // as worker/comm needs it
constexpr int kLeastMajor = 8;
constexpr const char* kNotNeeded = "; none is needed here";

Finding JudgeDriver(const GpuFacts& facts, bool is_needed) {
  const std::string kernel =
      facts.driver_version.empty() ? "no kernel module" : "driver " + facts.driver_version;
  if (!facts.driver_error.empty() && !is_needed)
    return {"CUDA", Verdict::kOk, kernel + kNotNeeded, ""};
  if (!facts.driver_error.empty()) {
    return {"CUDA", Verdict::kFail, kernel + "; " + facts.driver_error,
            "install NVIDIA's driver (580 or newer); in a container give it the GPUs (--gpus all, "
            "nvidia.com/gpu), or --device cpu"};
  }
  Finding finding{"CUDA", Verdict::kOk,
                  fmt::format("{}, CUDA {}.{}", kernel, facts.cuda_version / 1000,
                              facts.cuda_version % 1000 / 10),
                  ""};
  if (is_needed && facts.cuda_version < kLeastCuda) {
    finding.verdict = Verdict::kFail;
    finding.advice = "the kernels are built with CUDA 13.0: install driver 580 or newer";
  }
  return finding;
}

Finding JudgeGpu(const Gpu& gpu, size_t idx) {
  Finding finding{
      fmt::format("GPU {}", idx), Verdict::kOk,
      fmt::format("{}, {:.1f} GiB, compute capability {}.{}", gpu.name,
                  static_cast<double>(gpu.memory_bytes) / (1 << 30), gpu.major, gpu.minor),
      ""};
  if (gpu.is_prohibited) {
    finding.found += ", prohibited";
    finding.verdict = Verdict::kFail;
    finding.advice =
        fmt::format("its compute mode lets nobody in: nvidia-smi -i {} -c DEFAULT", idx);
  } else if (gpu.major < kLeastMajor) {
    finding.verdict = Verdict::kFail;
    finding.advice = fmt::format("{}.0 is the least; CUDA_VISIBLE_DEVICES hides it", kLeastMajor);
  } else if (gpu.is_exclusive) {
    finding.found += ", for one process at a time";
  }
  return finding;
}

Finding JudgeCount(const GpuFacts& facts, int num_ranks) {
  const auto num_gpus = static_cast<int>(facts.gpus.size());
  Finding finding{"GPUs", Verdict::kOk, fmt::format("{} for {} ranks", num_gpus, num_ranks), ""};
  if (num_gpus >= num_ranks) return finding;
  finding.verdict = Verdict::kFail;
  finding.advice =
      "a rank needs a GPU of its own: a smaller --tensor-parallel-size, or see "
      "CUDA_VISIBLE_DEVICES";
  return finding;
}

Finding JudgeNccl(const GpuFacts& facts, bool is_needed) {
  Finding finding{"NCCL", Verdict::kOk, facts.nccl_error, ""};
  if (facts.nccl_error.empty()) {
    finding.found = fmt::format("{}.{}.{}", facts.nccl_version / 10'000,
                                facts.nccl_version / 100 % 100, facts.nccl_version % 100);
  }
  if (!facts.nccl_error.empty() && !is_needed)
    finding.found = std::string("no library") + kNotNeeded;
  if (!is_needed || (facts.nccl_error.empty() && facts.nccl_version >= kLeastNccl)) return finding;
  finding.verdict = Verdict::kFail;
  finding.advice =
      "ranks on GPUs need libnccl.so.2, 2.18 or newer: install libnccl2, or name its folder in "
      "LD_LIBRARY_PATH";
  return finding;
}

}  // namespace

Findings JudgeGpus(const GpuFacts& facts, const ServeOptions& options) {
  const bool is_needed = options.device == "cuda";
  Findings findings = {JudgeDriver(facts, is_needed)};
  for (size_t i = 0; i < facts.gpus.size(); ++i) {
    Finding gpu = JudgeGpu(facts.gpus[i], i);
    if (!is_needed && gpu.verdict == Verdict::kFail) gpu.verdict = Verdict::kWarn;
    findings.push_back(std::move(gpu));
  }
  if (is_needed) findings.push_back(JudgeCount(facts, options.num_workers()));
  findings.push_back(JudgeNccl(facts, is_needed && options.tensor_parallel_size > 1));
  return findings;
}

}  // namespace longhand::client
