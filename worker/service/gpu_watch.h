// GpuWatch: the longhand_gpu_* families of a worker's GPU, once a second. Its own thread: a driver
// that hangs holds up nobody else.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "common/metrics.h"
#include "worker/service/nvml_library.h"

namespace longhand::service {

class GpuWatch {
 public:
  // `metrics` outlives this.
  GpuWatch(std::unique_ptr<NvmlLibrary> gpu, Metrics& metrics);
  // Waits for the thread, which looks a few times a second.
  ~GpuWatch();

 private:
  void Run();
  void Look();
  void SetGauge(const char* name, std::optional<double> value);
  void SetTotal(const char* name, const char* kind, std::optional<uint64_t> total);
  void CountXid(uint64_t xid);
  Counter& XidCounter(const std::string& xid);

  const std::unique_ptr<NvmlLibrary> gpu_;
  Metrics& metrics_;
  std::map<std::string, uint64_t> totals_;  // of the counters, as the driver told them last
  std::set<std::string> seen_;              // gauges that had a value
  std::atomic<bool> stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace longhand::service
