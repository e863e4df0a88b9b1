#include <cuda_runtime.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "worker/comm/cuda_stream.h"

namespace longhand::comm {
namespace {

// Sum over ranks, in rank order.
//
//   operands  [num_ranks, count]  f32, or bf16 (as bits)
//   out       [count]             as operands; summed in f32, rounded once as Bf16(float) does
//
// Launch     a thread an element, in strides; up to 2048 blocks of 256 threads.
// Alignment  the element's.
// Cost       reads num_ranks * count and writes count elements: memory. Not measured.
// Errors     kInternal when the launch fails.
constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 2048;

__device__ float Widen(float value) { return value; }
__device__ float Widen(uint16_t bits) { return __uint_as_float(uint32_t{bits} << 16); }

__device__ void Store(float value, float* out) { *out = value; }
__device__ void Store(float value, uint16_t* out) {
  const uint32_t u = __float_as_uint(value);
  const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
  *out = static_cast<uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

template <typename T>
__global__ void SumRanks(const T* operands, int num_ranks, int64_t count, T* out) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += stride) {
    float sum = Widen(operands[i]);
    for (int r = 1; r < num_ranks; ++r) sum = __fadd_rn(sum, Widen(operands[r * count + i]));
    Store(sum, out + i);
  }
}

Status ToStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return OkStatus();
  return Unavailable(what, ": ", cudaGetErrorString(error));
}

class CudaMemory final : public DeviceMemory {
 public:
  explicit CudaMemory(void* data) : data_(data) {}
  ~CudaMemory() override { cudaFree(data_); }
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  std::byte* data() override { return static_cast<std::byte*>(data_); }

 private:
  void* data_;
};

class CudaStream final : public DeviceStream {
 public:
  CudaStream(int device_idx, cudaStream_t stream, cudaEvent_t mark)
      : device_idx_(device_idx), stream_(stream), mark_(mark) {}
  ~CudaStream() override { cudaEventDestroy(mark_); }

  Status UseOnThread() override { return ToStatus("cudaSetDevice", cudaSetDevice(device_idx_)); }
  void* handle() override { return stream_; }

  Result<std::unique_ptr<DeviceMemory>> Allocate(size_t bytes) override {
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, bytes);
    if (error == cudaSuccess)
      return std::unique_ptr<DeviceMemory>(std::make_unique<CudaMemory>(data));
    cudaGetLastError();
    return ResourceExhausted("no device memory for ", bytes,
                             " bytes of exchange between ranks: ", cudaGetErrorString(error));
  }

  Status Sum(const void* operands, int num_ranks, DType dtype, int64_t count, void* out) override {
    const auto blocks =
        static_cast<unsigned>(std::min((count + kThreads - 1) / kThreads, kMaxBlocks));
    cudaLaunchConfig_t config{};
    config.gridDim = blocks;
    config.blockDim = kThreads;
    config.stream = stream_;
    cudaError_t error;
    if (dtype == DType::kF32) {
      error = cudaLaunchKernelEx(&config, &SumRanks<float>, static_cast<const float*>(operands),
                                 num_ranks, count, static_cast<float*>(out));
    } else {
      LONGHAND_CHECK(dtype == DType::kBf16) << DTypeName(dtype);
      error =
          cudaLaunchKernelEx(&config, &SumRanks<uint16_t>, static_cast<const uint16_t*>(operands),
                             num_ranks, count, static_cast<uint16_t*>(out));
    }
    if (error == cudaSuccess) return OkStatus();
    cudaGetLastError();
    return Internal("launch of the sum over ranks: ", cudaGetErrorString(error));
  }

  Status Copy(void* to, const void* from, size_t bytes) override {
    return ToStatus("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_));
  }

  Status Mark() override { return ToStatus("mark", cudaEventRecord(mark_, stream_)); }

  Result<bool> Reached() override {
    const cudaError_t state = cudaEventQuery(mark_);
    if (state == cudaErrorNotReady) return false;
    LONGHAND_RETURN_IF_ERROR(ToStatus("the device's work", state));
    return true;
  }

 private:
  const int device_idx_;
  const cudaStream_t stream_;
  const cudaEvent_t mark_;
};

}  // namespace

Result<std::unique_ptr<DeviceStream>> CreateCudaStream(void* stream) {
  int device_idx = 0;
  LONGHAND_RETURN_IF_ERROR(ToStatus("cudaGetDevice", cudaGetDevice(&device_idx)));
  cudaEvent_t mark = nullptr;
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("event", cudaEventCreateWithFlags(&mark, cudaEventDisableTiming)));
  return std::unique_ptr<DeviceStream>(
      std::make_unique<CudaStream>(device_idx, static_cast<cudaStream_t>(stream), mark));
}

}  // namespace longhand::comm
