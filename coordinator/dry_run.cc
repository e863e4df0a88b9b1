#include "coordinator/dry_run.h"

#include <cstdio>

#include "common/config/model_config.h"
#include "common/host_memory.h"
#include "coordinator/cluster/capacity.h"
#include "coordinator/settings.h"

namespace longhand {

Status DryRun(const ServeOptions& options) {
  LONGHAND_ASSIGN_OR_RETURN(const ModelConfig model, ModelConfig::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(const input::PixelPolicy pixels, PixelsOf(options, model));
  LONGHAND_ASSIGN_OR_RETURN(cluster::Capacity capacity, cluster::PlanShape(options, model));
  // A plan for other machines is printed all the same; then no tokens fit here.
  const HostMemory memory = ReadHostMemory();
  const int64_t memory_bytes = memory.Within(memory.available_bytes) / options.num_workers();
  const Result<cluster::Capacity> fitting = cluster::PlanCapacity(
      options, model, LargestPicture(pixels, model.vision), memory_bytes, memory_bytes);
  if (fitting.ok()) capacity = *fitting;
  const int num_groups = options.data_parallel_size;
  std::fputs(cluster::CapacityTable(capacity, model, num_groups).c_str(),
             options.json ? stderr : stdout);
  if (!fitting.ok())
    std::fprintf(stderr, "On this machine: %s\n", fitting.status().message().c_str());
  if (options.json) std::printf("%s\n", cluster::CapacityJson(capacity, num_groups).c_str());
  return OkStatus();
}

}  // namespace longhand
