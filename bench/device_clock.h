// DeviceClock: when a device comes to marks in its work, and what it can read at best.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"

namespace longhand::bench {

class DeviceClock {
 public:
  static constexpr size_t kMaxMarks = 4096;

  virtual ~DeviceClock() = default;

  virtual std::string device_name() const = 0;
  // Not taken by anyone. 0: not known.
  virtual int64_t free_bytes() const = 0;

  // Enqueued: mark `idx`, behind all work so far.
  virtual void Mark(size_t idx) = 0;
  // From one mark to a later one; the device must have come to both.
  virtual double Microseconds(size_t from, size_t to) = 0;
  // Enqueued: keeps the device busy for so long, so that what is enqueued meanwhile then runs
  // without waiting for the host.
  virtual void Hold(double ms) = 0;
  // Bytes a second of a kernel that only reads, from more memory than caches hold: the median and
  // the best of several. kUnimplemented where there is no such figure.
  struct ReadRate {
    double median = 0;
    double best = 0;
  };
  virtual Result<ReadRate> MeasureRead() = 0;
};

// Of work that is done before a call returns.
std::unique_ptr<DeviceClock> CreateHostClock();
// `stream` is a cudaStream_t of the calling thread's device. There where LONGHAND_WITH_CUDA is.
Result<std::unique_ptr<DeviceClock>> CreateCudaClock(void* stream);

}  // namespace longhand::bench
