// DeviceStream: the little of a device that a communicator needs. Work is enqueued and runs in
// order, together with that of the rank's Ops, whose stream this is.
//
// Executor thread only, but for UseOnThread().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand::comm {

// Memory of the device, freed with the object.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual std::byte* data() = 0;
};

class DeviceStream {
 public:
  virtual ~DeviceStream() = default;

  // To be called on each further thread that has NCCL work for the device: it leaves a thread the
  // device that it had, and that would be the first one, with a context of its own there.
  virtual Status UseOnThread() = 0;
  // What NCCL takes for its cudaStream_t.
  virtual void* handle() = 0;
  // kResourceExhausted when the device has not so much.
  virtual Result<std::unique_ptr<DeviceMemory>> Allocate(size_t bytes) = 0;

  // Enqueued. operands [num_ranks, count] f32 or bf16 -> out [count]: as SumInRankOrder(), bit by
  // bit.
  virtual Status Sum(
      const void* operands, int num_ranks, DType dtype, int64_t count, void* out) = 0;
  // Enqueued. Between two places of the device.
  virtual Status Copy(void* to, const void* from, size_t bytes) = 0;

  // Enqueued: a mark behind all work so far.
  virtual Status Mark() = 0;
  // Whether the device has come to the latest mark. Never waits; what went wrong on the device is
  // its status.
  virtual Result<bool> Reached() = 0;
};

}  // namespace longhand::comm
