// Whether a model fits: what `longhand-coordinator --dry-run` says, which makes the shard plan.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "client/doctor/finding.h"
#include "client/doctor/gpu.h"
#include "common/options/serve_options.h"

namespace longhand::client {

struct DryRunResult {
  bool ran = false;
  int exit_code = 0;
  std::string out;  // JSON
  std::string err;  // the table, and why it does not fit
};

// Runs `coordinator` with the effective configuration `args`. Main thread only.
DryRunResult DryRunOf(const std::filesystem::path& coordinator,
                      const std::vector<std::string>& args);

// With --device cuda against the GPUs' memory, otherwise as the plan says of the machine's.
Finding JudgeModel(const DryRunResult& dry_run, const GpuFacts& gpus, const ServeOptions& options);

}  // namespace longhand::client
