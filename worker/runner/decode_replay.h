// DecodeReplay: steps of nothing but decode, recorded and replayed (CUDA graphs) where that can be.
// Executor thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/runner/device_batch.h"

namespace longhand::runner {

class DecodeReplay {
 public:
  // `largest_exchange_bytes`: of a rank, in a decode step. `log` takes a line.
  DecodeReplay(kernels::Ops& ops,
               size_t largest_exchange_bytes,
               std::function<void(const std::string&)> log)
      : ops_(ops),
        largest_exchange_bytes_(largest_exchange_bytes),
        log_(std::move(log)),
        is_on_(ops.CanRecord()) {}

  // Whether it may be done at all; it may where the Ops can, unless this says no.
  void Allow(bool allow) { is_on_ = allow && ops_.CanRecord(); }

  // Whether the step is nothing but decode, on operations that can be recorded.
  bool Takes(const StepPlan& plan, const comm::Communicator& communicator) const;

  // Operations and collectives alone; the logits that they leave.
  using Enqueue = std::function<Status(kernels::VocabShard* logits)>;
  // At 80 layers of a dozen launches and some 8 KiB of the device for each, 8 MiB: beside NCCL's
  // buffers half of what LibraryBytes() keeps free. Not measured. Batches that grow and shrink by a
  // few, with contexts of a few lengths, have some 30 shapes at a time.
  static constexpr size_t kMaxRecordings = 64;
  // Enqueues a step of this shape, or what was recorded of one. The first runs as it is, and so
  // loads the kernels; the second is recorded, and from there on it is replayed. Of more than
  // kMaxRecordings the one that was not run for longest goes; it has ended, as the steps in flight
  // are the latest.
  Result<kernels::VocabShard> Run(const DecodeShape& shape, const Enqueue& enqueue);

  // Drops what was recorded. Recording is tried again: it may have failed because the group ended.
  void Forget() {
    steps_.clear();
    can_record_ = true;
  }

 private:
  struct Step {
    bool has_run = false;
    std::unique_ptr<kernels::Recording> recording;
    kernels::VocabShard logits;
    int64_t last_run = 0;
  };
  void MakeRoomForOneMore();
  void Record(const Enqueue& enqueue, Step* step);

  kernels::Ops& ops_;
  const size_t largest_exchange_bytes_;
  const std::function<void(const std::string&)> log_;
  bool is_on_;
  bool can_record_ = true;  // as far as has been tried
  std::map<DecodeShape, Step> steps_;
  int64_t num_runs_ = 0;
};

}  // namespace longhand::runner
