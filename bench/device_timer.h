// What kernel_bench needs of a device beside Ops: random data, times with a cold L2, the roof.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/cuda/cuda_ops.h"

namespace longhand::bench {

struct Times {
  double median_ns = 0;
  double best_ns = 0;
  int samples = 0;
};

class DeviceTimer {
 public:
  virtual ~DeviceTimer() = default;

  virtual std::string device() const = 0;
  // The time on the device of what `enqueue` puts into the stream, launches included. Before each
  // sample 256 MB of other memory are read, so that L2 holds nothing of it.
  virtual Result<Times> Measure(const std::function<Status()>& enqueue) = 0;
  // Bell-shaped numbers with mean 0 and about this standard deviation; f32 or bf16.
  virtual Status Fill(const TensorView& tensor, float deviation, uint64_t seed) = 0;
  // Reads `bytes` and nothing else: the roof of a kernel that reads.
  virtual Result<Times> MeasureRead(int64_t bytes) = 0;
};

// In device_timer.cu. The ops must outlive the timer.
Result<std::unique_ptr<DeviceTimer>> CreateCudaTimer(kernels::CudaOps& ops);

}  // namespace longhand::bench
