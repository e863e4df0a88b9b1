// PeerCommunicator: collectives by kernels that read the memory of the other ranks on the host,
// with another communicator for what is too large for that, and for all else.
//
// Sums have the bits of SumInRankOrder whichever way they go, so which way is taken for which size
// only matters for time: it is measured when the group forms, by rank 0, and told to the others.
// Where times mean nothing, kernels are taken wherever they can be.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/peer_group.h"
#include "common/thread_checker.h"
#include "worker/comm/communicator.h"
#include "worker/comm/key_value_store.h"
#include "worker/comm/sum_ways.h"

namespace longhand::comm {

struct PeerOptions {
  std::string group;
  int64_t epoch = 0;
  // To form, and how long a kernel waits for its peers.
  std::chrono::milliseconds timeout{30'000};
  // One line, once the group has formed; may be empty.
  std::function<void(const std::string&)> log;
  // By which the ways of summing are timed.
  std::function<TimePoint()> now = std::chrono::steady_clock::now;
};

class PeerCommunicator final : public Communicator {
 public:
  // Called by every rank of `inner`; handles pass through `store`. Where a rank cannot read the
  // memory of another, as on several hosts, all get `inner` back, and the reason is logged. The
  // device must outlive the communicator.
  static Result<std::unique_ptr<Communicator>> Connect(const PeerOptions& options,
                                                       std::unique_ptr<Communicator> inner,
                                                       PeerDevice& device,
                                                       KeyValueStore& store,
                                                       std::stop_token stop);
  ~PeerCommunicator() override;

  int rank() const override { return group_.rank; }
  int size() const override { return group_.size; }

  Status AllReduceSum(TensorView data) override;
  bool FusesNorm(const TensorView& data) const override;
  Status AllReduceSumNorm(const SumNormArgs& args) override;
  Status AllGather(TensorView local, TensorView all) override;
  Status Broadcast(TensorView data, int root) override;
  Status Barrier() override;
  Status Synchronize() override;
  Result<bool> HasDone(const Reached& reached, TimePoint since) override;
  bool CanBeRecorded(size_t max_bytes) const override;
  int64_t DeviceBytes() const override { return group_.memory_bytes() + inner_->DeviceBytes(); }
  void Abort() override;

 private:
  PeerCommunicator(const PeerOptions& options,
                   std::unique_ptr<Communicator> inner,
                   PeerDevice& device);

  Status Exchange(KeyValueStore& store, const std::stop_token& stop);
  Status ExchangeMemory(KeyValueStore& store, const std::stop_token& stop);
  Status AllocateOwn();
  Status ChooseWays(KeyValueStore& store, const std::stop_token& stop);
  Status Publish(KeyValueStore& store, const std::string& what, const std::string& value) const;
  Result<std::string> Read(KeyValueStore& store,
                           const std::string& what,
                           int rank,
                           const std::stop_token& stop) const;

  bool GoesByKernel(const TensorView& data, bool by_row) const;
  bool IsTwoShot(const TensorView& data) const;
  Status CheckControl();
  // What a wait of the other communicator's comes to.
  Status Judge(const Status& waited);

  const PeerOptions options_;
  std::unique_ptr<Communicator> inner_;
  PeerDevice& device_;
  ThreadChecker thread_;
  PeerGroup group_;
  SumWays ways_;
  std::string measured_;  // for the log
  Status failure_;
  std::shared_ptr<PeerControl> control_;
  std::vector<std::unique_ptr<PeerMemory>> memory_;  // [size]
};

}  // namespace longhand::comm
