#include "worker/service/nvml_library.h"

#include <dlfcn.h>

#include <thread>
#include <utility>

namespace longhand::service {
namespace {

using Device = struct nvmlDevice_st*;
using EventSet = struct nvmlEventSet_st*;
constexpr int kSuccess = 0;
constexpr int kTemperatureGpu = 0;
constexpr int kClockSm = 1;
constexpr int kEccVolatile = 0;  // since the driver was loaded
constexpr unsigned kMaxLinks = 18;
constexpr unsigned long long kEventXid = 0x8;

struct MemoryInfo {
  unsigned long long total, free, used;
};
struct Rates {
  unsigned gpu, memory;
};
struct EventData {
  Device device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};

}  // namespace

// A function that the library does not have is null, and what it would tell is missing.
struct NvmlLibrary::Api {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*by_bus_id)(const char*, Device*) = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*name)(Device, char*, unsigned) = nullptr;
  int (*uuid)(Device, char*, unsigned) = nullptr;
  int (*memory)(Device, MemoryInfo*) = nullptr;
  int (*utilization)(Device, Rates*) = nullptr;
  int (*power)(Device, unsigned*) = nullptr;
  int (*power_limit)(Device, unsigned*) = nullptr;
  int (*temperature)(Device, int, unsigned*) = nullptr;
  int (*clock)(Device, int, unsigned*) = nullptr;
  int (*ecc_errors)(Device, int, int, unsigned long long*) = nullptr;
  int (*link_state)(Device, unsigned, int*) = nullptr;
  int (*link_errors)(Device, unsigned, int, unsigned long long*) = nullptr;
  int (*create_events)(EventSet*) = nullptr;
  int (*register_events)(Device, unsigned long long, EventSet) = nullptr;
  int (*wait_event)(EventSet, EventData*, unsigned) = nullptr;
  int (*free_events)(EventSet) = nullptr;

  Device device = nullptr;
  EventSet events = nullptr;  // null: the driver tells of none

  template <typename Function, typename... Parameters>
  std::optional<unsigned> Number(Function function, Parameters... parameters) const {
    unsigned value = 0;
    if (function == nullptr || function(device, parameters..., &value) != kSuccess)
      return std::nullopt;
    return value;
  }
  std::string Text(int (*function)(Device, char*, unsigned)) const {
    char text[96] = "";
    if (function == nullptr || function(device, text, sizeof(text)) != kSuccess) return "";
    return text;
  }
};

Result<std::unique_ptr<NvmlLibrary>> NvmlLibrary::Open(const std::string& pci_bus_id,
                                                       const std::string& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return Unavailable("no NVML: ", dlerror());
  auto api = std::make_unique<Api>();
  const auto find = [library](auto* function, const char* name) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(library, name));
  };
  find(&api->init, "nvmlInit_v2");
  find(&api->shutdown, "nvmlShutdown");
  find(&api->by_bus_id, "nvmlDeviceGetHandleByPciBusId_v2");
  find(&api->driver_version, "nvmlSystemGetDriverVersion");
  find(&api->name, "nvmlDeviceGetName");
  find(&api->uuid, "nvmlDeviceGetUUID");
  find(&api->memory, "nvmlDeviceGetMemoryInfo");
  find(&api->utilization, "nvmlDeviceGetUtilizationRates");
  find(&api->power, "nvmlDeviceGetPowerUsage");
  find(&api->power_limit, "nvmlDeviceGetEnforcedPowerLimit");
  find(&api->temperature, "nvmlDeviceGetTemperature");
  find(&api->clock, "nvmlDeviceGetClockInfo");
  find(&api->ecc_errors, "nvmlDeviceGetTotalEccErrors");
  find(&api->link_state, "nvmlDeviceGetNvLinkState");
  find(&api->link_errors, "nvmlDeviceGetNvLinkErrorCounter");
  find(&api->create_events, "nvmlEventSetCreate");
  find(&api->register_events, "nvmlDeviceRegisterEvents");
  find(&api->wait_event, "nvmlEventSetWait_v2");
  find(&api->free_events, "nvmlEventSetFree");
  if (api->init == nullptr || api->shutdown == nullptr || api->by_bus_id == nullptr)
    return Unavailable(file, " is no NVML");
  if (const int error = api->init(); error != kSuccess)
    return Unavailable("NVML does not start: error ", error);
  std::unique_ptr<NvmlLibrary> opened(new NvmlLibrary(std::move(api)));
  Api& own = *opened->api_;
  if (const int error = own.by_bus_id(pci_bus_id.c_str(), &own.device); error != kSuccess)
    return Unavailable("NVML knows no GPU ", pci_bus_id, ": error ", error);
  if (own.create_events != nullptr && own.register_events != nullptr && own.wait_event != nullptr &&
      own.free_events != nullptr && own.create_events(&own.events) == kSuccess &&
      own.register_events(own.device, kEventXid, own.events) != kSuccess) {
    own.free_events(std::exchange(own.events, nullptr));
  }
  return opened;
}

NvmlLibrary::NvmlLibrary(std::unique_ptr<Api> api) : api_(std::move(api)) {}

NvmlLibrary::~NvmlLibrary() {
  if (api_->events != nullptr) api_->free_events(api_->events);
  api_->shutdown();
}

std::string NvmlLibrary::name() const { return api_->Text(api_->name); }
std::string NvmlLibrary::uuid() const { return api_->Text(api_->uuid); }

std::string NvmlLibrary::driver_version() const {
  char version[96] = "";
  if (api_->driver_version == nullptr || api_->driver_version(version, sizeof(version)) != kSuccess)
    return "";
  return version;
}

std::optional<NvmlLibrary::Memory> NvmlLibrary::memory() const {
  MemoryInfo info{};
  if (api_->memory == nullptr || api_->memory(api_->device, &info) != kSuccess) return std::nullopt;
  return Memory{static_cast<int64_t>(info.total), static_cast<int64_t>(info.used)};
}

std::optional<NvmlLibrary::Utilization> NvmlLibrary::utilization() const {
  Rates rates{};
  if (api_->utilization == nullptr || api_->utilization(api_->device, &rates) != kSuccess)
    return std::nullopt;
  return Utilization{rates.gpu / 100.0, rates.memory / 100.0};
}

std::optional<double> NvmlLibrary::power_watts() const {
  const auto milliwatts = api_->Number(api_->power);
  return milliwatts.has_value() ? std::optional(*milliwatts / 1000.0) : std::nullopt;
}

std::optional<double> NvmlLibrary::power_limit_watts() const {
  const auto milliwatts = api_->Number(api_->power_limit);
  return milliwatts.has_value() ? std::optional(*milliwatts / 1000.0) : std::nullopt;
}

std::optional<double> NvmlLibrary::temperature_celsius() const {
  const auto degrees = api_->Number(api_->temperature, kTemperatureGpu);
  return degrees.has_value() ? std::optional<double>(*degrees) : std::nullopt;
}

std::optional<double> NvmlLibrary::sm_clock_hertz() const {
  const auto megahertz = api_->Number(api_->clock, kClockSm);
  return megahertz.has_value() ? std::optional(*megahertz * 1e6) : std::nullopt;
}

std::optional<uint64_t> NvmlLibrary::ecc_errors(bool corrected) const {
  unsigned long long count = 0;
  if (api_->ecc_errors == nullptr ||
      api_->ecc_errors(api_->device, corrected ? 0 : 1, kEccVolatile, &count) != kSuccess)
    return std::nullopt;
  return count;
}

std::optional<uint64_t> NvmlLibrary::nvlink_errors(NvlinkError kind) const {
  std::optional<uint64_t> sum;
  for (unsigned link = 0; api_->link_errors != nullptr && link < kMaxLinks; ++link) {
    unsigned long long count = 0;
    if (api_->link_errors(api_->device, link, static_cast<int>(kind), &count) == kSuccess)
      sum = sum.value_or(0) + count;
  }
  return sum;
}

std::optional<int> NvmlLibrary::num_nvlinks_active() const {
  std::optional<int> active;
  for (unsigned link = 0; api_->link_state != nullptr && link < kMaxLinks; ++link) {
    int is_enabled = 0;
    if (api_->link_state(api_->device, link, &is_enabled) == kSuccess)
      active = active.value_or(0) + (is_enabled != 0 ? 1 : 0);
  }
  return active;
}

bool NvmlLibrary::tells_xids() const { return api_->events != nullptr; }

std::optional<uint64_t> NvmlLibrary::WaitForXid(std::chrono::milliseconds timeout) const {
  if (api_->events == nullptr) {
    std::this_thread::sleep_for(timeout);
    return std::nullopt;
  }
  EventData event{};
  const auto begin = std::chrono::steady_clock::now();
  const int error = api_->wait_event(api_->events, &event, static_cast<unsigned>(timeout.count()));
  if (error == kSuccess && event.type == kEventXid) return event.data;
  // A driver that fails at once would have its caller turn without a pause.
  std::this_thread::sleep_until(begin + timeout);
  return std::nullopt;
}

}  // namespace longhand::service
