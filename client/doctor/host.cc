#include "client/doctor/host.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "client/serve/processors.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos)
      return line.substr(colon + 2);
  }
  return "unknown processor";
}

DiskSpace SpaceOf(fs::path directory) {
  std::error_code error;
  directory = fs::absolute(directory, error);
  while (!fs::exists(directory, error) && directory.has_relative_path())
    directory = directory.parent_path();
  DiskSpace space{.directory = directory.string()};
  space.is_writable = access(directory.c_str(), W_OK | X_OK) == 0;
  struct statvfs stat{};
  if (statvfs(directory.c_str(), &stat) == 0)
    space.available_bytes =
        static_cast<int64_t>(stat.f_bavail) * static_cast<int64_t>(stat.f_frsize);
  return space;
}

uint64_t HardLimit(__rlimit_resource resource) {
  rlimit limit{};
  return getrlimit(resource, &limit) == 0 ? limit.rlim_max : 0;
}

}  // namespace

HostFacts ReadHost(const ServeOptions& options) {
  HostFacts facts;
  facts.processor = ProcessorName();
  facts.has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  facts.has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  facts.has_vnni = __builtin_cpu_supports("avx512vnni");
  facts.has_bf16 = __builtin_cpu_supports("avx512bf16");
  facts.num_processors = static_cast<int>(std::thread::hardware_concurrency());
  facts.processor_quota = ProcessorQuota();
  facts.memory = ReadHostMemory();
  facts.shared_memory = SpaceOf("/dev/shm");
  facts.max_open_files = HardLimit(RLIMIT_NOFILE);
  facts.max_locked_bytes = HardLimit(RLIMIT_MEMLOCK);
  facts.unix_time = std::time(nullptr);
  timex clock{};
  facts.is_synchronised = adjtimex(&clock) != TIME_ERROR;
  std::error_code ignored;
  facts.journal = SpaceOf(options.journal == "auto" ? fs::temp_directory_path(ignored)
                                                    : fs::path(options.journal));
  return facts;
}

}  // namespace longhand::client
