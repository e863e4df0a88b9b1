// What a test tells the stand-in for NVML to say.
#pragma once

#include <atomic>

struct StandInGpu {
  std::atomic<unsigned long long> memory_total = 80ull << 30;
  std::atomic<unsigned long long> memory_used = 60ull << 30;
  std::atomic<unsigned> utilization_percent = 75;
  std::atomic<unsigned> power_milliwatts = 412'500;
  std::atomic<unsigned> temperature = 61;
  std::atomic<unsigned long long> ecc_corrected = 5;
  std::atomic<unsigned long long> nvlink_replays_a_link = 2;
  std::atomic<bool> is_lost = false;
};

extern "C" {
using StandInNvmlGpuFunction = StandInGpu*();
using StandInNvmlRaiseFunction = void(unsigned long long xid);
}
