// A stand-in for NVIDIA's libnvidia-ml.so.1, for gpu_watch_test: one GPU, whose values the test
// sets, in NVML's ABI. It shows that the worker reads that ABI; what a real driver answers only a
// machine with a GPU shows.
#include "tests/unit/worker/service/stand_in_nvml.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

namespace {

constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kTimeout = 10;

StandInGpu gpu;  // NOLINT: what a library's functions share
std::atomic<unsigned long long> pending_xid = 0;
int a_device = 0;
int an_event_set = 0;

int Put(char* text, unsigned size, const char* value) {
  std::strncpy(text, value, size - 1);
  text[size - 1] = '\0';
  return 0;
}

template <typename T>
int Tell(T value, T* out) {
  if (gpu.is_lost) return kNotSupported;
  *out = value;
  return 0;
}

struct Event {
  void* device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};

}  // namespace

extern "C" {

StandInGpu* StandInNvmlGpu() { return &gpu; }
void StandInNvmlRaise(unsigned long long xid) { pending_xid = xid; }

int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlSystemGetDriverVersion(char* text, unsigned size) { return Put(text, size, "580.65.06"); }
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  *device = &a_device;
  return std::strcmp(bus_id, "0000:1b:00.0") == 0 ? 0 : kNotFound;
}
int nvmlDeviceGetName(void*, char* text, unsigned size) { return Put(text, size, "Stand-in GPU"); }
int nvmlDeviceGetUUID(void*, char* text, unsigned size) { return Put(text, size, "GPU-1"); }
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* total_free_used) {
  if (gpu.is_lost) return kNotSupported;
  total_free_used[0] = gpu.memory_total;
  total_free_used[1] = gpu.memory_total - gpu.memory_used;
  total_free_used[2] = gpu.memory_used;
  return 0;
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* gpu_memory) {
  if (gpu.is_lost) return kNotSupported;
  gpu_memory[0] = gpu.utilization_percent;
  gpu_memory[1] = 40;
  return 0;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  return Tell(gpu.power_milliwatts.load(), milliwatts);
}
int nvmlDeviceGetTemperature(void*, int sensor, unsigned* degrees) {
  return sensor == 0 ? Tell(gpu.temperature.load(), degrees) : kNotSupported;
}
int nvmlDeviceGetClockInfo(void*, int clock, unsigned* megahertz) {
  return clock == 1 ? Tell(1980u, megahertz) : kNotSupported;
}
int nvmlDeviceGetTotalEccErrors(void*, int kind, int counter, unsigned long long* count) {
  return counter == 0 ? Tell(kind == 0 ? gpu.ecc_corrected.load() : 0ull, count) : kNotSupported;
}
int nvmlDeviceGetNvLinkState(void*, unsigned link, int* is_enabled) {
  return link < 4 ? Tell(link < 3 ? 1 : 0, is_enabled) : kNotSupported;
}
int nvmlDeviceGetNvLinkErrorCounter(void*, unsigned link, int kind, unsigned long long* count) {
  return link < 4 ? Tell(kind == 0 ? gpu.nvlink_replays_a_link.load() : 0ull, count)
                  : kNotSupported;
}
int nvmlEventSetCreate(void** set) {
  *set = &an_event_set;
  return 0;
}
int nvmlDeviceRegisterEvents(void*, unsigned long long types, void*) {
  return types == 8 ? 0 : kNotSupported;
}
int nvmlEventSetWait_v2(void*, Event* event, unsigned timeout_ms) {
  const unsigned long long xid = pending_xid.exchange(0);
  if (xid == 0) std::this_thread::sleep_for(std::chrono::milliseconds(timeout_ms));
  *event = {&a_device, 8, xid, 0, 0};
  return xid == 0 ? kTimeout : 0;
}
int nvmlEventSetFree(void*) { return 0; }

}  // extern "C"
