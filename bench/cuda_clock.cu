// The clock of a CUDA stream: events, a kernel that waits, and a kernel that reads.
#include <algorithm>
#include <vector>

#include "bench/cuda_kernels.cuh"
#include "bench/device_clock.h"

namespace longhand::bench {
namespace {

// More than any L2 by far.
constexpr size_t kReadBytes = size_t{4} << 30;
constexpr int kReads = 15;
__global__ void HoldKernel(uint64_t ns) {
  uint64_t begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < ns);
}

class CudaClock final : public DeviceClock {
 public:
  explicit CudaClock(cudaStream_t stream) : stream_(stream), events_(kMaxMarks) {}
  ~CudaClock() override {
    for (cudaEvent_t event : events_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }

  Status Open() {
    int device = 0;
    LONGHAND_RETURN_IF_ERROR(ToStatus("cudaGetDevice", cudaGetDevice(&device)));
    LONGHAND_RETURN_IF_ERROR(
        ToStatus("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties_, device)));
    for (cudaEvent_t& event : events_) {
      LONGHAND_RETURN_IF_ERROR(ToStatus("cudaEventCreate", cudaEventCreate(&event)));
    }
    return OkStatus();
  }

  std::string device_name() const override { return properties_.name; }
  int64_t free_bytes() const override {
    size_t free = 0, total = 0;
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? static_cast<int64_t>(free) : 0;
  }

  void Mark(size_t idx) override { cudaEventRecord(events_.at(idx), stream_); }
  double Microseconds(size_t from, size_t to) override {
    float ms = 0;
    const cudaError_t error = cudaEventElapsedTime(&ms, events_.at(from), events_.at(to));
    LONGHAND_CHECK(error == cudaSuccess) << cudaGetErrorString(error);
    return ms * 1e3;
  }
  void Hold(double ms) override {
    HoldKernel<<<1, 1, 0, stream_>>>(static_cast<uint64_t>(ms * 1e6));
  }

  Result<ReadRate> MeasureRead() override {
    void* memory = nullptr;
    LONGHAND_RETURN_IF_ERROR(
        ToStatus("memory to read from", cudaMalloc(&memory, kReadBytes + sizeof(uint4))));
    auto* from = static_cast<uint4*>(memory);
    auto* out = reinterpret_cast<uint32_t*>(from + kReadBytes / sizeof(uint4));
    FillKernel<false><<<properties_.multiProcessorCount * 4, 512, 0, stream_>>>(
        from, kReadBytes / sizeof(float), /*deviation=*/1.0f, /*seed=*/3);
    std::vector<double> rates;
    // How many blocks read best is the device's own: several are tried.
    for (const int blocks_each : {2, 4, 16}) {
      for (int i = 0; i < kReads; ++i) {
        Mark(0);
        ReadKernel<<<properties_.multiProcessorCount * blocks_each, kReadThreads, 0, stream_>>>(
            from, kReadBytes / kReadChunk, out);
        Mark(1);
        const Status status = ToStatus("reading", cudaStreamSynchronize(stream_));
        if (!status.ok()) return status;
        by_blocks_[i] = static_cast<double>(kReadBytes) / Microseconds(0, 1) * 1e6;
      }
      std::sort(by_blocks_, by_blocks_ + kReads);
      rate_.median = std::max(rate_.median, by_blocks_[kReads / 2]);
      rate_.best = std::max(rate_.best, by_blocks_[kReads - 1]);
    }
    cudaFree(memory);
    return rate_;
  }

 private:
  const cudaStream_t stream_;
  cudaDeviceProp properties_{};
  std::vector<cudaEvent_t> events_;
  double by_blocks_[kReads] = {};
  ReadRate rate_;
};

}  // namespace

Result<std::unique_ptr<DeviceClock>> CreateCudaClock(void* stream) {
  auto clock = std::make_unique<CudaClock>(static_cast<cudaStream_t>(stream));
  LONGHAND_RETURN_IF_ERROR(clock->Open());
  return std::unique_ptr<DeviceClock>(std::move(clock));
}

}  // namespace longhand::bench
