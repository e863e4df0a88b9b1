// Events round each sample; the kernels of cuda_kernels.cuh fill, flush and read.
#include "bench/device_timer.h"

#include <algorithm>
#include <vector>

#include "bench/cuda_kernels.cuh"

namespace longhand::bench {
namespace {

constexpr int64_t kFlushBytes = int64_t{256} << 20;
constexpr int kWarmUps = 3, kMaxSamples = 100, kMinSamples = 10;
constexpr double kMaxSeconds = 1.5;  // of one case; below kMaxSamples where samples are long

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
    ReadKernel<<<blocks_each * properties_.multiProcessorCount, kReadThreads, 0, stream_>>>(
        static_cast<const uint4*>(data), bytes / kReadChunk,
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
