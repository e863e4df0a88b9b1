#include "client/serve/processors.h"

#include <algorithm>
#include <fstream>

namespace longhand::client {

double ProcessorQuota() {
  double quota = 0;
  double period = 0;
  std::ifstream of_v2("/sys/fs/cgroup/cpu.max");
  if (of_v2 >> quota >> period && period > 0) return quota / period;
  std::ifstream quota_of_v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_of_v1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_of_v1 >> quota && period_of_v1 >> period && quota > 0 && period > 0)
    return quota / period;
  return 0;
}

int ThreadsOfRank(int num_processors, double quota, int num_ranks) {
  const double usable = quota > 0 ? std::min<double>(num_processors, quota) : num_processors;
  return std::max(1, static_cast<int>(usable) / num_ranks);
}

}  // namespace longhand::client
