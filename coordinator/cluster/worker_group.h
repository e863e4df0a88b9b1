// WorkerGroup: forms the ranks into a group, sends them plans, notices when one is lost, and forms
// the group again.
//
// Every formation has a new epoch. Weights stay where a worker lives: Configure finds them there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/config/model_config.h"
#include "common/options/serve_options.h"
#include "coordinator/cluster/capacity.h"
#include "coordinator/cluster/step_ledger.h"
#include "coordinator/cluster/step_stream.h"
#include "coordinator/engine/step_executor.h"
#include "longhand/worker/v1/worker.grpc.pb.h"

namespace longhand::cluster {

enum class GroupState { kConnecting, kLoading, kReady, kFailed };

struct RankStatus {
  std::string address;
  GroupState state = GroupState::kConnecting;
  float load_progress = 0;  // 0 to 1
  int64_t step = 0;         // last one answered
  int64_t execute_us = 0;
  int64_t communicate_us = 0;
  int64_t weight_bytes = 0;
  int64_t kv_cache_bytes = 0;
  std::string device;
};

struct GroupStatus {
  GroupState state = GroupState::kConnecting;
  std::string detail;
  int64_t epoch = 0;
  Capacity capacity;
  std::vector<RankStatus> ranks;
};

struct WorkerGroupConfig {
  std::vector<std::string> addresses;  // in rank order
  ServeOptions options;
  ModelConfig model;
  int64_t max_pixels = 0;  // of a resized picture
  std::string group_name;  // unique on the hosts
};

// What the group tells besides the engine. Called on the membership thread.
struct GroupObserver {
  std::function<void()> on_forming;                   // a new epoch begins
  std::function<void(const GroupStatus&)> on_change;  // state or detail
  std::function<void(const Status&)> on_fatal;        // forming again cannot mend it
  std::function<void(int32_t rank)> on_silent;        // hangs, or is not there; again at each try
};

class WorkerGroup final : public engine::StepExecutor {
 public:
  WorkerGroup(WorkerGroupConfig config, const Clock& clock, GroupObserver observer);
  ~WorkerGroup() override { Stop(); }

  // Where ranks on several hosts find each other. Before Start.
  void SetRendezvousAddress(std::string address) { rendezvous_address_ = std::move(address); }
  // Starts the membership thread, which owns formation and deadlines. `listener` must live until
  // Stop().
  void Start(engine::GroupListener& listener);
  // Ends the membership thread and the streams; the listener hears nothing more.
  void Stop();
  GroupStatus status() const;  // any thread

  // Engine thread.
  void Execute(StepPlan plan) override;
  void PutImage(int64_t epoch, const engine::ImageInput& image) override;
  void AbandonGroup(int64_t epoch, const Status& why) override;

 private:
  using Stub = worker::v1::Worker::Stub;
  struct Rank {
    std::shared_ptr<grpc::Channel> channel;
    std::shared_ptr<Stub> stub;
    std::shared_ptr<StepStream> stream;
    worker::v1::DescribeResponse description;
    int silent_tries = 0;  // in a row
  };

  struct PutImageCall {
    grpc::ClientContext context;
    worker::v1::PutImageResponse response;
  };
  struct ImageUpload {
    ContentHash hash{};
    worker::v1::PutImageRequest request;
    size_t missing = 0;  // ranks that have not answered yet; guarded by mutex_
  };

  void Run();
  Status Form();
  int64_t MemoryOfARank() const;
  Status Connect();
  Status CheckAlike() const;
  Status Configure(const Capacity& capacity);
  Status ConfigureRank(int32_t rank, const Capacity& capacity);
  worker::v1::ConfigureRequest MakeConfigureRequest(int32_t rank, const Capacity& capacity) const;
  worker::v1::Transport ChooseTransport() const;
  void OpenStreams();
  Status WarmUp();
  void WatchUntilDown();
  void CloseStreams();
  void SetState(GroupState state, std::string detail);
  void OnResult(int64_t epoch, StepResult result);
  void OnImagePut(ImageUpload& upload, const grpc::ClientContext& context, const Status& status);
  void GoDown(int64_t epoch, const Status& why);
  Duration Allowance(const StepPlan& plan) const;
  bool stopping() const { return stopping_; }

  const WorkerGroupConfig config_;
  engine::GroupListener* listener_ = nullptr;  // set by Start
  std::string rendezvous_address_;
  const Clock& clock_;
  const GroupObserver observer_;
  std::thread membership_thread_;
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  GroupStatus status_;
  std::vector<Rank> ranks_;
  std::vector<std::shared_ptr<grpc::ClientContext>>
      calls_;                   // Configure and PutImage: cancelled when the epoch ends
  int32_t open_callbacks_ = 0;  // streams and image calls whose last callback is still to come
  std::unique_ptr<StepLedger> ledger_;
  bool up_ = false;             // the engine has been told of the epoch
  Status down_;                 // why the epoch is over; OK while it is not
  int64_t warm_up_steps_ = 0;   // answered
  bool a_rank_failed_ = false;  // while this epoch was configured
};

}  // namespace longhand::cluster
