// Communicator: how the ranks of a worker group exchange activations.
//
// Every rank makes the same calls in the same order with the same shapes. Reductions have a fixed
// order: sums run in fp32 over ranks 0, 1, 2..., so every rank gets the same bits, each time. Calls
// belong to the executor thread and are enqueued on the stream of the rank's Ops (in host memory
// they complete before returning). A call fails with kAborted after Abort(), and with
// kDeadlineExceeded when a peer does not arrive in time; the communicator is then dead. Where calls
// are enqueued, a failure may show in Synchronize() only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand::comm {

// A sum over ranks that goes on with residual and RMSNorm: residual += sum of data; out = residual / sqrt(mean(residual^2)
// + eps) * weight. The bits are those of AllReduceSum() and then Ops::RmsNorm().
struct SumNormArgs {
  TensorView data;      // [T, hidden_size] f32 or bf16; what it holds afterwards is nobody's
  TensorView residual;  // in and out: as data
  TensorView weight;    // [hidden_size] f32
  float eps = 0;
  TensorView out;       // out: as data, or fp8 where there is a scale
  TensorView scale = {};  // out: [T] f32, or empty: rounds, as in RmsNormArgs
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // data: any shape, f32 or bf16, in place; bf16 is summed in f32 and rounded once.
  virtual Status AllReduceSum(TensorView data) = 0;
  // all [size, ...local shape]: row r is rank r's `local`. Any dtype.
  virtual Status AllGather(TensorView local, TensorView all) = 0;
  // data: in on `root`, out elsewhere. Any dtype.
  virtual Status Broadcast(TensorView data, int root) = 0;
  virtual Status Barrier() = 0;
  // Waits for all calls so far, and for the work before them. Only after it are their results, and
  // what was computed of them, known to be right.
  virtual Status Synchronize() = 0;
  // The same, without waiting, up to a place on the device that `reached` tells of. Fails as
  // Synchronize() does; kDeadlineExceeded counts from `since`.
  using Reached = std::function<Result<bool>()>;
  using TimePoint = std::chrono::steady_clock::time_point;
  virtual Result<bool> HasDone(const Reached& reached, [[maybe_unused]] TimePoint since) {
    return reached();
  }

  // Whether AllReduceSumNorm() takes data of this shape: the same on every rank.
  virtual bool FusesNorm(const TensorView&) const { return false; }
  // kUnimplemented unless FusesNorm(args.data).
  virtual Status AllReduceSumNorm(const SumNormArgs&) {
    return Unimplemented("this transport sums and does nothing else");
  }

  // Whether calls of up to `max_bytes` a rank may be recorded with the operations between them
  // (Ops::Record). What was recorded must be gone before the communicator is.
  virtual bool CanBeRecorded(size_t) const { return false; }

  // Of the rank's device, for as long as the group lives; without what a library takes.
  virtual int64_t DeviceBytes() const { return 0; }

  // Makes the pending call and all later ones fail with kAborted, on this rank. Any thread.
  virtual void Abort() = 0;
};

}  // namespace longhand::comm
