// WorkerGroup: forms the ranks into a group, sends them plans, notices when one is lost, and forms
// the group again, with a spare worker in the place of the lost one if there is one.
//
// Every formation has a new epoch. Weights stay where a worker lives: Configure finds them there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/config/model_config.h"
#include "common/options/serve_options.h"
#include "coordinator/cluster/capacity.h"
#include "coordinator/cluster/loss_cause.h"
#include "coordinator/cluster/roster.h"
#include "coordinator/cluster/step_ledger.h"
#include "coordinator/cluster/step_stream.h"
#include "coordinator/cluster/worker_directory.h"
#include "coordinator/cluster/worker_link.h"
#include "coordinator/engine/step_executor.h"
#include "longhand/worker/v1/worker.grpc.pb.h"

namespace longhand::cluster {

enum class GroupState { kConnecting, kLoading, kWarmingUp, kReady, kFailed };

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
  Duration silent_for{};  // since the worker was heard
  Duration still_for{};   // since its computing thread turned
};

struct GroupStatus {
  GroupState state = GroupState::kConnecting;
  bool was_ready = false;  // now or before
  std::string detail;
  std::string stalled;  // why a group that is ready makes no tokens; empty while it does
  int64_t epoch = 0;
  Capacity capacity;
  std::vector<RankStatus> ranks;
  std::vector<int32_t> workers;  // which of the addresses each rank is
  int32_t num_spares = 0;
  int32_t num_spares_ready = 0;  // that have loaded what they would need
};

struct WorkerGroupConfig {
  // One for each rank, in rank order, then the spares: workers alike that wait to take a place.
  std::vector<std::string> addresses;
  // Where those of them are now that nobody hears; empty: where they were. Membership thread; may
  // wait for name servers.
  std::function<WorkerDirectory::Listing(const std::vector<size_t>& lost)> locate;
  ServeOptions options;
  ModelConfig model;
  int64_t max_pixels = 0;  // of a resized picture
  std::string group_name;  // unique on the hosts
  int group = 0;           // of --data-parallel-size
};

// What the group tells besides the engine. Called on the membership thread.
struct GroupObserver {
  std::function<void()> on_forming;                   // a new epoch begins
  std::function<void(const GroupStatus&)> on_change;  // state or detail
  std::function<void(const Status&)> on_fatal;        // forming again cannot mend it
  // Which of the addresses hangs, or is not there; again at each try. Any thread.
  std::function<void(int32_t worker)> on_silent;
  std::function<void(LossCause)> on_loss;  // of a group that was up; any thread, must not wait
};

class WorkerGroup final : public engine::StepExecutor {
 public:
  // `roster`, which outlives this, has the workers of the other groups too.
  WorkerGroup(WorkerGroupConfig config, Roster& roster, const Clock& clock, GroupObserver observer);
  ~WorkerGroup() override { Stop(); }

  // Where ranks on several hosts find each other. Before Start.
  void SetRendezvousAddress(std::string address) { rendezvous_address_ = std::move(address); }
  const std::string& name() const { return config_.group_name; }
  // Starts the membership thread, which owns formation and deadlines. `listener` must live until
  // Stop().
  void Start(engine::GroupListener& listener);
  // Ends the membership thread and the streams; the listener hears nothing more.
  void Stop();
  GroupStatus status() const;  // any thread

  // Has every rank read the adapter, in this epoch and in those to come; any thread. `done` comes
  // once, from any thread: with an error when a rank cannot read it, at once while no group is up.
  void LoadAdapter(const engine::Adapter& adapter, std::function<void(const Status&)> done);
  // Epochs to come need not read it.
  void ForgetAdapter(int32_t slot);

  // Engine thread.
  void Execute(StepPlan plan) override;
  void PutImage(int64_t epoch, const engine::ImageInput& image) override;
  void AbandonGroup(int64_t epoch, const Status& why) override;

 private:
  struct Rank {
    WorkerLink* worker = nullptr;  // one of workers_
    std::shared_ptr<StepStream> stream;
  };
  struct Spare {
    WorkerLink* worker = nullptr;  // one of workers_
    // Of the process that is alive: whether it was told to prepare, and has.
    enum class Prepared { kNo, kAsked, kYes } prepared = Prepared::kNo;
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
  struct AdapterCall {
    grpc::ClientContext context;
    worker::v1::LoadAdapterResponse response;
  };
  struct AdapterLoad {
    worker::v1::LoadAdapterRequest request;
    std::function<void(const Status&)> done;
    size_t missing = 0;  // ranks that have not answered yet; guarded by mutex_
    Status error;        // of a rank; guarded by mutex_
  };
  struct PrepareCall {
    grpc::ClientContext context;
    worker::v1::ConfigureRequest request;
    worker::v1::PrepareResponse response;
  };
  // Guarded by mutex_.
  struct OpenCalls {
    std::vector<std::shared_ptr<grpc::ClientContext>> contexts;  // by which they are cancelled
    int32_t num_callbacks = 0;                                   // still to return
  };

  // The membership thread (worker_group_formation.cc).
  void Run();
  Status Form();
  Status Connect();
  Status Locate();
  bool FillPlaces();
  void SetRanks();
  Status CheckRanksAlike() const;
  int64_t MemoryOfARank() const;
  int64_t HostMemoryOfARank() const;
  Status Configure(const Capacity& capacity);
  Status ConfigureRank(int32_t rank, const Capacity& capacity);
  worker::v1::ConfigureRequest MakeConfigureRequest(int32_t rank, const Capacity& capacity) const;
  worker::v1::Transport ChooseTransport() const;
  void OpenStreams();
  Status WarmUp();
  void WaitUntilDown();
  void CloseStreams();
  void SetState(GroupState state, std::string detail);

  // The watching thread (worker_group_watch.cc).
  void Watch();
  // `listened` is how long, since the last time.
  void WatchRanks(Duration listened);
  void WatchSpares();
  void PrepareSpare(size_t idx);
  void OnPrepared(size_t idx, const WorkerLink& worker, const Status& status);
  Duration OperationLimit() const;
  void Lose(int64_t epoch, int32_t rank, LossCause cause, const Status& why);

  void OnResult(int64_t epoch, StepResult result);
  void OnAdapterLoaded(AdapterLoad& load, const Status& status);
  void OnImagePut(ImageUpload& upload, const Status& status);
  // With mutex_ held: what EndCall is given when the callback has done its work.
  template <typename Call>
  static std::shared_ptr<grpc::ClientContext> BeginCall(const std::shared_ptr<Call>& call,
                                                        OpenCalls* calls) {
    ++calls->num_callbacks;
    return calls->contexts.emplace_back(call, &call->context);
  }
  void EndCall(std::shared_ptr<grpc::ClientContext> call, OpenCalls* calls);
  void GoDown(int64_t epoch, LossCause cause, const Status& why);
  void GoDownLocked(int64_t epoch, LossCause cause, const Status& why);
  Duration Allowance(const StepPlan& plan) const;
  int64_t WeightBytesOfARank() const;
  std::vector<Heartbeat> Heartbeats() const;
  int32_t WorkerIdx(const WorkerLink* worker) const;
  bool stopping() const { return stopping_; }

  const WorkerGroupConfig config_;
  Roster& roster_;
  engine::GroupListener* listener_ = nullptr;  // set by Start
  std::string rendezvous_address_;
  const Clock& clock_;
  const GroupObserver observer_;
  std::vector<std::unique_ptr<WorkerLink>> workers_;  // as the addresses
  std::thread membership_thread_;
  std::thread watching_thread_;
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  GroupStatus status_;
  std::vector<Rank> ranks_;        // places change on the membership thread
  std::vector<Spare> spares_;      // those that have no rank
  std::vector<int> silent_tries_;  // of each worker, in a row; membership thread
  OpenCalls calls_;                // of an epoch, its streams' callbacks among them
  std::map<int32_t, worker::v1::Adapter> adapters_;             // by slot
  std::map<int32_t, worker::v1::Adapter> configured_adapters_;  // in this epoch
  std::map<ContentHash, int32_t> pictures_;  // that the epoch's workers hold: their patches
  std::unique_ptr<StepLedger> ledger_;
  bool has_ranks_ = false;            // all places of the epoch are filled: they are watched
  bool up_ = false;                   // the engine has been told of the epoch
  Status down_;                       // why the epoch is over; OK while it is not
  int64_t warm_up_steps_ = 0;         // answered
  bool a_rank_failed_ = false;        // while this epoch was configured
  OpenCalls prepare_calls_;           // outlive epochs
  TimePoint looked_for_spares_at_{};  // watching thread
};

}  // namespace longhand::cluster
