// NcclCommunicator: collectives between GPUs.
//
// NCCL moves bytes; sums are ours, because its rings and trees add in an order that depends on the
// rank and the size. A small sum gathers every operand on every rank and adds them there; a large
// one goes in pieces: each rank gets its share of every operand, adds, and the sums are gathered.
// Both give the bits of SumInRankOrder.
//
// Calls are enqueued and return. Synchronize() waits for them, and only there a peer that does not
// come, or a failure of NCCL or of the device, is noticed; what the stream computed since the last
// successful one is then worth nothing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "common/thread_checker.h"
#include "worker/comm/communicator.h"
#include "worker/comm/device_stream.h"
#include "worker/comm/key_value_store.h"
#include "worker/comm/nccl_library.h"

namespace longhand::comm {

struct NcclOptions {
  int rank = 0;
  int size = 1;
  std::string group;
  int64_t epoch = 0;
  std::string library;  // as NcclLibrary::Load()
  // To form the group, and then of each Synchronize(), the device's own work included.
  std::chrono::milliseconds timeout{30'000};
  // Room for other ranks' operands, on the device; at least 16 bytes a rank.
  size_t scratch_bytes = 32 << 20;
  // Waiting takes a core each; without, a wait ends some 100 us late. Where ranks outnumber cores,
  // a rank that spins keeps others from running.
  bool spin = true;
};

class NcclCommunicator final : public Communicator {
 public:
  // Called by every rank of the group; returns when all are connected. Rank 0's unique id passes
  // through `store`. The stream must outlive the communicator. kAborted soon after `stop` is
  // requested.
  static Result<std::unique_ptr<NcclCommunicator>> Connect(const NcclOptions& options,
                                                           DeviceStream& stream,
                                                           KeyValueStore& store,
                                                           std::stop_token stop);
  // Aborts what is still under way. Nothing that was recorded may be left.
  ~NcclCommunicator() override;

  int rank() const override { return options_.rank; }
  int size() const override { return options_.size; }

  Status AllReduceSum(TensorView data) override;
  Status AllGather(TensorView local, TensorView all) override;
  Status Broadcast(TensorView data, int root) override;
  Status Barrier() override;
  Status Synchronize() override;
  Result<bool> HasDone(const Reached& reached, TimePoint since) override;
  // On the stream alone: recorded calls are NCCL's kernels and ours.
  bool CanBeRecorded(size_t) const override { return true; }
  int64_t DeviceBytes() const override { return static_cast<int64_t>(options_.scratch_bytes); }
  void Abort() override;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  NcclCommunicator(const NcclOptions& options, DeviceStream& stream, NcclLibrary library);

  Status Form(KeyValueStore& store, const std::stop_token& stop);
  Result<nccl::UniqueId> ExchangeId(KeyValueStore& store, const std::stop_token& stop);

  Status SumSmall(std::byte* data, DType dtype, int64_t count);
  Status SumPiece(std::byte* data, DType dtype, int64_t share);
  Status GatherBytes(const void* local, void* all, size_t bytes);

  // Makes one call of NCCL, or a group of them, and waits until it is enqueued.
  template <typename Call>
  Status Enqueue(const char* what, Call call);
  // The state of the communicator; kInProgress while it still works on the last call.
  Result<nccl::Result> Poll(const char* what);
  Status WaitUntilEnqueued(const char* what, SteadyTime deadline);
  Status WaitForMark(SteadyTime deadline);
  // What has become of a wait: kDeadlineExceeded unless it is over.
  Result<bool> Look(bool reached, SteadyTime deadline);
  void Pause() const;
  // Ends the communicator and remembers why.
  Status Fail(Status status);

  const NcclOptions options_;
  DeviceStream& stream_;
  const NcclLibrary library_;
  const nccl::Api& nccl_;
  ThreadChecker thread_;
  Status failure_;
  std::unique_ptr<DeviceMemory> scratch_;
  unsigned num_looks_ = 0;  // of HasDone()

  std::mutex mutex_;
  std::condition_variable changed_;
  bool abort_requested_ = false;  // guarded by mutex_
  nccl::Comm* comm_ = nullptr;    // guarded by mutex_; null once aborted
  // NCCL's abort may take its time, as long as there are recordings of its calls at least, which
  // the executor thread has: nobody waits for it but the destructor. Last: it uses all of the
  // above.
  std::jthread aborter_;
};

}  // namespace longhand::comm
