// GlooCommunicator: collectives between hosts, over Gloo's TCP transport.
//
// Gloo moves bytes between pairs of ranks; the collectives are ours, because its ring sums in an
// order that depends on the rank. A small sum sends everything to everyone; a large one sends each
// rank its share, sums it there in rank order, and sends the sums back. Both give the bits of
// SumInRankOrder.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <vector>

#include "common/thread_checker.h"
#include "worker/comm/communicator.h"
#include "worker/comm/gloo_mesh.h"
#include "worker/comm/key_value_store.h"

namespace gloo::transport {
class UnboundBuffer;
}

namespace longhand::comm {

class GlooCommunicator final : public Communicator {
 public:
  // Called by every rank of the group; returns when all are connected, or fails by
  // `options.timeout`. kAborted soon after `stop` is requested.
  static Result<std::unique_ptr<GlooCommunicator>> Connect(const GlooMeshOptions& options,
                                                           KeyValueStore& store,
                                                           std::stop_token stop);
  ~GlooCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Status AllReduceSum(TensorView data) override;
  Status AllGather(TensorView local, TensorView all) override;
  Status Broadcast(TensorView data, int root) override;
  Status Barrier() override;
  Status Synchronize() override { return failure_; }
  void Abort() override;

 private:
  // Bytes that go to, or come from, one peer.
  struct Transfer {
    int peer = 0;
    void* data = nullptr;
    size_t bytes = 0;
  };
  struct Range;

  GlooCommunicator(std::shared_ptr<GlooMesh> mesh, std::chrono::milliseconds timeout);

  Status CheckPeers(const GlooMeshOptions& options);
  Status Begin();
  Status SumSmall(TensorView data);
  Status SumLarge(TensorView data);
  Range ShareOf(int rank, const TensorView& data) const;
  Status GatherBytes(const void* local, std::byte* all, size_t bytes);

  // Does all transfers at once; returns when all are through. Every rank must name the matching
  // ones.
  Status Exchange(std::span<const Transfer> sends, std::span<const Transfer> receives);
  Status TryExchange(std::span<const Transfer> sends, std::span<const Transfer> receives);
  // False when aborted.
  bool SetPending(std::span<const Transfer> sends, std::span<const Transfer> receives);
  void ClearPending();
  std::chrono::milliseconds TimeLeft() const;
  bool aborted();
  Status Fail(Status status);

  // shared_ptr because gloo::Context is one.
  const std::shared_ptr<GlooMesh> mesh_;
  const int rank_;
  const int size_;
  const std::chrono::milliseconds timeout_;
  ThreadChecker thread_;
  Status failure_;
  uint64_t exchange_ = 0;  // numbers the exchanges, so that messages of different ones never mix
  std::chrono::steady_clock::time_point deadline_;
  std::vector<std::byte> scratch_;  // operands of the other ranks; only grows

  std::mutex mutex_;
  bool aborted_ = false;  // guarded by mutex_
  // What the exchange at hand waits for, receives first. Only the owner changes it, under mutex_,
  // because Abort() walks it.
  std::vector<std::unique_ptr<::gloo::transport::UnboundBuffer>> pending_;
};

}  // namespace longhand::comm
