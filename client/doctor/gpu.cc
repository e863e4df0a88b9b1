#include "client/doctor/gpu.h"

#include <dlfcn.h>

#include <fstream>

namespace longhand::client {
namespace {

// The driver's API, as far as it is asked: https://docs.nvidia.com/cuda/cuda-driver-api
constexpr int kMajorAttribute = 75;
constexpr int kMinorAttribute = 76;
constexpr int kComputeModeAttribute = 20;
constexpr int kModeProhibited = 2;
constexpr int kModeExclusiveProcess = 3;

struct Driver {
  int (*Init)(unsigned int) = nullptr;
  int (*DriverGetVersion)(int*) = nullptr;
  int (*GetErrorString)(int, const char**) = nullptr;
  int (*DeviceGetCount)(int*) = nullptr;
  int (*DeviceGet)(int*, int) = nullptr;
  int (*DeviceGetName)(char*, int, int) = nullptr;
  int (*DeviceTotalMem)(size_t*, int) = nullptr;
  int (*DeviceGetAttribute)(int*, int, int) = nullptr;
};

template <typename Function>
bool Find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

bool FindAll(void* library, Driver& driver) {
  return Find(library, "cuInit", &driver.Init) &&
         Find(library, "cuDriverGetVersion", &driver.DriverGetVersion) &&
         Find(library, "cuGetErrorString", &driver.GetErrorString) &&
         Find(library, "cuDeviceGetCount", &driver.DeviceGetCount) &&
         Find(library, "cuDeviceGet", &driver.DeviceGet) &&
         Find(library, "cuDeviceGetName", &driver.DeviceGetName) &&
         Find(library, "cuDeviceTotalMem_v2", &driver.DeviceTotalMem) &&
         Find(library, "cuDeviceGetAttribute", &driver.DeviceGetAttribute);
}

std::string ErrorText(const Driver& driver, int error) {
  const char* text = nullptr;
  driver.GetErrorString(error, &text);
  return text == nullptr ? "error " + std::to_string(error) : text;
}

Gpu ReadGpu(const Driver& driver, int device) {
  Gpu gpu;
  char name[256] = "";
  size_t bytes = 0;
  int mode = 0;
  driver.DeviceGetName(name, sizeof(name), device);
  driver.DeviceTotalMem(&bytes, device);
  driver.DeviceGetAttribute(&gpu.major, kMajorAttribute, device);
  driver.DeviceGetAttribute(&gpu.minor, kMinorAttribute, device);
  driver.DeviceGetAttribute(&mode, kComputeModeAttribute, device);
  gpu.name = name;
  gpu.memory_bytes = static_cast<int64_t>(bytes);
  gpu.is_prohibited = mode == kModeProhibited;
  gpu.is_exclusive = mode == kModeExclusiveProcess;
  return gpu;
}

// Fills cuda_version and gpus. Returns what is wrong, or nothing.
std::string ReadDriver(GpuFacts& facts) {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return dlerror();
  Driver driver;
  if (!FindAll(library, driver)) return "libcuda.so.1 lacks functions of CUDA's driver";
  driver.DriverGetVersion(&facts.cuda_version);
  int num_devices = 0;
  int error = driver.Init(0);
  if (error == 0) error = driver.DeviceGetCount(&num_devices);
  if (error != 0) return ErrorText(driver, error);
  for (int i = 0, device = 0; i < num_devices; ++i)
    if (driver.DeviceGet(&device, i) == 0) facts.gpus.push_back(ReadGpu(driver, device));
  return "";
}

std::string ReadNccl(GpuFacts& facts) {
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return dlerror();
  int (*get_version)(int*) = nullptr;
  if (!Find(library, "ncclGetVersion", &get_version)) return "libnccl.so.2 has no ncclGetVersion";
  get_version(&facts.nccl_version);
  return "";
}

}  // namespace

GpuFacts ReadGpus() {
  GpuFacts facts;
  std::ifstream("/sys/module/nvidia/version") >> facts.driver_version;
  facts.driver_error = ReadDriver(facts);
  facts.nccl_error = ReadNccl(facts);
  return facts;
}

}  // namespace longhand::client
