// Events round each sample, and the kernels that fill, flush and read.
#include "bench/device_timer.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

namespace longhand::bench {
namespace {

constexpr int kThreads = 512;
constexpr int kLoads = 8;  // 16-byte loads that a thread has in flight
constexpr int64_t kFlushBytes = int64_t{256} << 20;
constexpr int kWarmUps = 3, kMaxSamples = 100, kMinSamples = 10;
constexpr double kMaxSeconds = 1.5;  // of one case; below kMaxSamples where samples are long

Status ToStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return OkStatus();
  return Internal(what, ": ", cudaGetErrorString(error));
}

__device__ uint32_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return static_cast<uint32_t>(x >> 32);
}

// The sum of four bytes of a hash is bell-shaped: mean 510, deviation 147.8.
template <bool kBf16>
__global__ void FillKernel(void* data, int64_t count, float deviation, uint64_t seed) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride) {
    const uint32_t bits = Mix((static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ull + seed);
    const int sum = static_cast<int>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) +
                                     (bits >> 24));
    const float value = static_cast<float>(sum - 510) / 147.8f * deviation;
    if constexpr (kBf16) {
      static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(__float_as_uint(value) >> 16);
    } else {
      static_cast<float*>(data)[i] = value;
    }
  }
}

// Each block reads chunks of kThreads * kLoads * 16 bytes; the sum keeps the loads alive.
__global__ void __launch_bounds__(kThreads) ReadKernel(const uint4* data,
                                                       int64_t num_chunks,
                                                       uint32_t* sink) {
  uint32_t sum = 0;
  for (int64_t chunk = blockIdx.x; chunk < num_chunks; chunk += gridDim.x) {
    uint4 loaded[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      loaded[i] = __ldcs(data + (chunk * kLoads + i) * kThreads + threadIdx.x);
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) sum ^= loaded[i].x ^ loaded[i].y ^ loaded[i].z ^ loaded[i].w;
  }
  if (sum == 0x5eedf00du) *sink = sum;
}

class Event {
 public:
  Event() { (void)cudaEventCreate(&event_); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaTimer final : public DeviceTimer {
 public:
  CudaTimer(kernels::CudaOps& ops, std::unique_ptr<kernels::Buffer> flush)
      : ops_(ops), stream_(static_cast<cudaStream_t>(ops.stream())), flush_(std::move(flush)) {
    int device = 0;
    (void)cudaGetDevice(&device);
    (void)cudaGetDeviceProperties(&properties_, device);
  }

  std::string device() const override { return properties_.name; }

  Result<Times> Measure(const std::function<Status()>& enqueue) override {
    Event warm_begin, warm_end;
    for (int i = 0; i < kWarmUps; ++i) {
      LONGHAND_RETURN_IF_ERROR(Sample(enqueue, warm_begin, warm_end));
    }
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    LONGHAND_ASSIGN_OR_RETURN(const double one_ns, Between(warm_begin, warm_end));
    constexpr double kFlushNs = 2e5;
    const int count = std::clamp(static_cast<int>(kMaxSeconds * 1e9 / (one_ns + kFlushNs)),
                                 kMinSamples, kMaxSamples);
    std::vector<Event> begins(count), ends(count);
    for (int i = 0; i < count; ++i) {
      LONGHAND_RETURN_IF_ERROR(Sample(enqueue, begins[i], ends[i]));
    }
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    std::vector<double> times(count);
    for (int i = 0; i < count; ++i) {
      LONGHAND_ASSIGN_OR_RETURN(times[i], Between(begins[i], ends[i]));
    }
    std::sort(times.begin(), times.end());
    return Times{times[times.size() / 2], times[0], count};
  }

  Status Fill(const TensorView& tensor, float deviation, uint64_t seed) override {
    const int blocks = 8 * properties_.multiProcessorCount;
    if (tensor.dtype() == DType::kBf16) {
      FillKernel<true>
          <<<blocks, 256, 0, stream_>>>(tensor.data(), tensor.num_elements(), deviation, seed);
    } else if (tensor.dtype() == DType::kF32) {
      FillKernel<false>
          <<<blocks, 256, 0, stream_>>>(tensor.data(), tensor.num_elements(), deviation, seed);
    } else {
      return InvalidArgument("random data for ", tensor.ToString());
    }
    return ToStatus("launch of Fill", cudaGetLastError());
  }

  Result<Times> MeasureRead(int64_t bytes) override {
    LONGHAND_ASSIGN_OR_RETURN(const auto memory, ops_.Allocate(static_cast<size_t>(bytes)));
    LONGHAND_RETURN_IF_ERROR(Fill(TensorView(memory->data(), DType::kF32, {bytes / 4}), 1.0f, 3));
    Times best;
    for (const int blocks_each : {1, 2, 3, 4, 8, 16}) {
      LONGHAND_ASSIGN_OR_RETURN(const Times times, Measure([&] {
                                  return Read(memory->data(), bytes, blocks_each);
                                }));
      if (best.samples == 0 || times.median_ns < best.median_ns) best = times;
    }
    return best;
  }

 private:
  Status Read(const void* data, int64_t bytes, int blocks_each) {
    ReadKernel<<<blocks_each * properties_.multiProcessorCount, kThreads, 0, stream_>>>(
        static_cast<const uint4*>(data), bytes / (kThreads * kLoads * 16),
        static_cast<uint32_t*>(flush_->data()));
    return ToStatus("launch of Read", cudaGetLastError());
  }

  Status Sample(const std::function<Status()>& enqueue, const Event& begin, const Event& end) {
    LONGHAND_RETURN_IF_ERROR(Read(flush_->data(), kFlushBytes, 8));
    LONGHAND_RETURN_IF_ERROR(ToStatus("cudaEventRecord", cudaEventRecord(begin.get(), stream_)));
    LONGHAND_RETURN_IF_ERROR(enqueue());
    return ToStatus("cudaEventRecord", cudaEventRecord(end.get(), stream_));
  }

  static Result<double> Between(const Event& begin, const Event& end) {
    float ms = 0;
    LONGHAND_RETURN_IF_ERROR(
        ToStatus("cudaEventElapsedTime", cudaEventElapsedTime(&ms, begin.get(), end.get())));
    return static_cast<double>(ms) * 1e6;
  }

  kernels::CudaOps& ops_;
  cudaStream_t stream_;
  std::unique_ptr<kernels::Buffer> flush_;
  cudaDeviceProp properties_{};
};

}  // namespace

Result<std::unique_ptr<DeviceTimer>> CreateCudaTimer(kernels::CudaOps& ops) {
  LONGHAND_ASSIGN_OR_RETURN(auto flush, ops.Allocate(kFlushBytes));
  return std::unique_ptr<DeviceTimer>(std::make_unique<CudaTimer>(ops, std::move(flush)));
}

}  // namespace longhand::bench
