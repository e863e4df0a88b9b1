// SharedMemoryCommunicator: collectives between ranks on one host, over a SharedSegment.
//
// Data moves in chunks. Chunk k has two events per rank: Ready(k), my data lies in my slot, and
// Done(k), I am through with reading the slots of the others. Slots are used in turn by even and
// odd chunks, so that one chunk is copied while another is summed.
//
//   small sum   copy mine to my slot; Ready; when all are ready, sum all slots. Every rank sums
//   everything. large sum   the same per chunk, but each rank sums its share, in rank order, into
//   the result area; Done; when all
//               are done, copy the shares of the others.
//
// A waiting rank spins briefly when every rank has a core, then sleeps on a futex in the segment.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "common/thread_checker.h"
#include "worker/comm/communicator.h"
#include "worker/comm/rank_signals.h"
#include "worker/comm/shared_segment.h"

namespace longhand::comm {

class SharedMemoryCommunicator final : public Communicator {
 public:
  struct Options {
    std::chrono::nanoseconds timeout = std::chrono::seconds(30);  // of each call
    std::chrono::nanoseconds spin{0};  // how long a wait spins before it sleeps
  };

  // Shared, because ranks that are threads of one process use one segment; between processes each
  // has its own object.
  SharedMemoryCommunicator(std::shared_ptr<SharedSegment> segment,
                           int rank,
                           const Options& options);
  // Tells the peers that this rank will not come again: what they wait for fails with kUnavailable.
  ~SharedMemoryCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Status AllReduceSum(TensorView data) override;
  Status AllGather(TensorView local, TensorView all) override;
  Status Broadcast(TensorView data, int root) override;
  Status Barrier() override;
  Status Synchronize() override { return failure_; }
  void Abort() override { signals_.Abort(); }

 private:
  enum class Call : uint8_t { kSum = 1, kGather, kBroadcast, kBarrier };
  struct Chunk;
  struct Range;

  Status Begin(Call call, size_t bytes, int root);
  // Remembers a failure for all later calls, and tells the peers.
  Status Finish(Status status);

  Status SumSmall(std::byte* data, DType dtype, int64_t count);
  Status SumLarge(std::byte* data, DType dtype, int64_t count);
  void SumMyShare(const Chunk& chunk);
  Status CopyOut(const Chunk& chunk, uint32_t index);
  Status Gather(const std::byte* local, std::byte* all, size_t bytes);
  Status Send(const std::byte* data, size_t bytes);
  Status Receive(std::byte* data, size_t bytes, int root);
  Range MyShare(const Chunk& chunk) const;

  Status WaitForSlot();
  void PublishReady();
  Status WaitUntilReady(int rank);
  Status WaitUntilAllReady();
  Status CheckSameCall(int rank);

  const std::shared_ptr<SharedSegment> segment_;
  const int rank_;
  const int size_;
  const Options options_;
  ThreadChecker thread_;
  RankSignals signals_;
  Status failure_;
  uint32_t chunk_ = kFirstEvent / 2;  // the chunk at hand; counts on from call to call
  uint64_t call_ = 0;                 // what this rank called, in one word, for peers to compare
};

}  // namespace longhand::comm
