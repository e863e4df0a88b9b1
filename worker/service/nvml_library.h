// NvmlLibrary: what the driver's management library (NVML) tells of one GPU, opened at run time.
//
// NVML's ABI is declared here as far as it is used: its header comes with CUDA, and a worker is
// built without, too.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"

namespace longhand::service {

// Errors of one kind on all NVLinks.
enum class NvlinkError : uint8_t { kReplay, kRecovery, kCrcFlit, kCrcData };

// Of one GPU. Everything may be missing: what the driver refuses is nullopt. One thread.
class NvmlLibrary {
 public:
  struct Memory {
    int64_t total_bytes = 0;
    int64_t used_bytes = 0;
  };
  struct Utilization {
    double compute = 0;  // 0 to 1
    double memory = 0;
  };

  // The GPU with this PCI bus id, as CUDA writes it. kUnavailable without driver or GPU.
  static Result<std::unique_ptr<NvmlLibrary>> Open(const std::string& pci_bus_id,
                                                   const std::string& file = "libnvidia-ml.so.1");
  ~NvmlLibrary();
  NvmlLibrary(const NvmlLibrary&) = delete;
  NvmlLibrary& operator=(const NvmlLibrary&) = delete;

  std::string name() const;
  std::string uuid() const;
  std::string driver_version() const;

  std::optional<Memory> memory() const;
  std::optional<Utilization> utilization() const;
  std::optional<double> power_watts() const;
  std::optional<double> power_limit_watts() const;
  std::optional<double> temperature_celsius() const;
  std::optional<double> sm_clock_hertz() const;
  // Since the driver was loaded.
  std::optional<uint64_t> ecc_errors(bool corrected) const;
  std::optional<uint64_t> nvlink_errors(NvlinkError kind) const;
  std::optional<int> num_nvlinks_active() const;

  bool tells_xids() const;
  // Waits for a critical error of the GPU; its number, or nullopt when none came in time. Where the
  // driver does not tell, it waits all the same.
  std::optional<uint64_t> WaitForXid(std::chrono::milliseconds timeout) const;

 private:
  struct Api;
  explicit NvmlLibrary(std::unique_ptr<Api> api);

  const std::unique_ptr<Api> api_;
};

}  // namespace longhand::service
