#include "coordinator/cluster/worker_group.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "coordinator/cluster/planned_work.h"
#include "coordinator/cluster/warm_up.h"
#include "proto/grpc_status.h"
#include "proto/step_plan_wire.h"

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;

}  // namespace

WorkerGroup::WorkerGroup(WorkerGroupConfig config,
                         Roster& roster,
                         const Clock& clock,
                         GroupObserver observer)
    : config_(std::move(config)), roster_(roster), clock_(clock), observer_(std::move(observer)) {
  for (const std::string& address : config_.addresses) {
    workers_.push_back(std::make_unique<WorkerLink>(address));
    roster_.Add(*workers_.back());
  }
  const auto num_ranks = static_cast<size_t>(config_.options.tensor_parallel_size);
  LONGHAND_CHECK(workers_.size() >= num_ranks) << workers_.size() << " workers";
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (i < num_ranks) {
      ranks_.push_back({.worker = workers_[i].get()});
    } else {
      spares_.push_back({.worker = workers_[i].get()});
    }
  }
  silent_tries_.resize(workers_.size());
  status_.ranks.resize(num_ranks);
  status_.num_spares = static_cast<int32_t>(spares_.size());
  SetRanks();
}

void WorkerGroup::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& call : calls_.contexts) call->TryCancel();
    for (const auto& call : prepare_calls_.contexts) call->TryCancel();
  }
  changed_.notify_all();
  if (watching_thread_.joinable()) watching_thread_.join();
  if (membership_thread_.joinable()) membership_thread_.join();
  CloseStreams();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return prepare_calls_.num_callbacks == 0; });
}

void WorkerGroup::Start(engine::GroupListener& listener) {
  listener_ = &listener;
  membership_thread_ = std::thread([this] { Run(); });
  watching_thread_ = std::thread([this] { Watch(); });
}

GroupStatus WorkerGroup::status() const {
  std::lock_guard lock(mutex_);
  GroupStatus status = status_;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const Heartbeat heartbeat = ranks_[r].worker->heartbeat();
    status.ranks[r].silent_for = heartbeat.silent_for();
    status.ranks[r].still_for = heartbeat.still_for();
  }
  status.num_spares_ready =
      static_cast<int32_t>(std::count_if(spares_.begin(), spares_.end(), [](const Spare& spare) {
        return spare.prepared == Spare::Prepared::kYes && spare.worker->alive();
      }));
  return status;
}

// With mutex_ held, or before Start.
void WorkerGroup::SetRanks() {
  status_.workers.clear();
  for (size_t r = 0; r < ranks_.size(); ++r) {
    status_.ranks[r].address = ranks_[r].worker->address();
    status_.workers.push_back(WorkerIdx(ranks_[r].worker));
  }
}

int32_t WorkerGroup::WorkerIdx(const WorkerLink* worker) const {
  const auto found = std::find_if(workers_.begin(), workers_.end(),
                                  [&](const auto& each) { return each.get() == worker; });
  return static_cast<int32_t>(found - workers_.begin());
}

// --- gRPC threads --------------------------------------------------------------------------------

void WorkerGroup::OnResult(int64_t epoch, StepResult result) {
  std::unique_lock lock(mutex_);
  if (epoch != status_.epoch || result.epoch != epoch || !down_.ok()) return;  // Fenced.
  RankStatus& rank = status_.ranks[static_cast<size_t>(
      std::clamp<int64_t>(result.rank, 0, static_cast<int64_t>(ranks_.size()) - 1))];
  rank.step = result.step;
  rank.execute_us = result.execute_us;
  rank.communicate_us = result.communicate_us;
  Result<std::optional<StepResult>> joined = ledger_->Answered(std::move(result));
  if (!joined.ok())
    return GoDownLocked(epoch, LossCause::kStepError, Unavailable(joined.status().message()));
  if (!joined->has_value()) return;
  StepResult done = std::move(**joined);
  if (done.step > kWarmUpReleaseStep) return listener_->OnStepResult(std::move(done));
  ++warm_up_steps_;
  changed_.notify_all();
  const Status warm = CheckWarmUp(done);
  if (!warm.ok()) {
    GoDownLocked(epoch, LossCause::kStepError, warm.WithContext("the first step failed"));
  }
}

void WorkerGroup::GoDown(int64_t epoch, LossCause cause, const Status& why) {
  std::lock_guard lock(mutex_);
  GoDownLocked(epoch, cause, why);
}

void WorkerGroup::GoDownLocked(int64_t epoch, LossCause cause, const Status& why) {
  if (epoch != status_.epoch || !down_.ok()) return;
  down_ = why;
  if (std::exchange(up_, false)) {
    observer_.on_loss(cause);
    listener_->OnGroupDown(epoch, why);
  }
  for (const auto& call : calls_.contexts) call->TryCancel();
  changed_.notify_all();
}

// Last in a callback. The call, which holds its channel, goes before whoever waits goes on: gRPC's
// threads of callbacks end with the last channel and server that use them, and cannot be ended by
// one of them.
void WorkerGroup::EndCall(std::shared_ptr<grpc::ClientContext> call, OpenCalls* calls) {
  std::unique_lock lock(mutex_);
  std::erase(calls->contexts, call);
  lock.unlock();
  call.reset();
  lock.lock();
  --calls->num_callbacks;
  changed_.notify_all();
}

// --- engine thread -------------------------------------------------------------------------------

void WorkerGroup::Execute(StepPlan plan) {
  auto request = std::make_shared<wire::ExecuteStepRequest>();
  ToWire(plan, request.get());
  std::lock_guard lock(mutex_);
  if (plan.epoch != status_.epoch || !down_.ok()) return;
  ledger_->Sent(plan.step, Allowance(plan), plan.num_tokens());
  for (const ContentHash& image : plan.released_images) pictures_.erase(image);
  for (const Rank& rank : ranks_) rank.stream->Send(request);
}

// Every rank gets the pixels: whichever encodes them, all check the plan that says so.
void WorkerGroup::PutImage(int64_t epoch, const engine::ImageInput& image) {
  const auto upload = std::make_shared<ImageUpload>();
  upload->hash = image.hash;
  upload->request.set_epoch(epoch);
  upload->request.set_image(ToWire(image.hash));
  upload->request.set_height(image.height);
  upload->request.set_width(image.width);
  upload->request.set_pixels(image.pixels->data(), image.pixels->size());
  std::lock_guard lock(mutex_);
  if (epoch != status_.epoch || !down_.ok()) return;
  pictures_[image.hash] = image.num_patches;
  upload->missing = ranks_.size();
  for (const Rank& rank : ranks_) {
    const auto call = std::make_shared<PutImageCall>();
    rank.worker->stub()->async()->PutImage(
        &call->context, &upload->request, &call->response,
        [this, upload, context = BeginCall(call, &calls_)](const grpc::Status& status) mutable {
          OnImagePut(*upload, FromGrpc(status));
          EndCall(std::move(context), &calls_);
        });
  }
}

void WorkerGroup::OnImagePut(ImageUpload& upload, const Status& status) {
  const int64_t epoch = upload.request.epoch();
  if (!status.ok())
    GoDown(epoch, LossCause::kConnection,
           Unavailable("a worker did not take a picture: ", status.message()));
  std::lock_guard lock(mutex_);
  const bool complete = --upload.missing == 0;
  if (complete && epoch == status_.epoch && down_.ok()) listener_->OnImageReady(epoch, upload.hash);
}

// --- any thread ----------------------------------------------------------------------------------

void WorkerGroup::LoadAdapter(const engine::Adapter& adapter,
                              std::function<void(const Status&)> done) {
  const auto load = std::make_shared<AdapterLoad>();
  wire::Adapter& to = *load->request.mutable_adapter();
  to.set_slot(adapter.slot);
  to.set_directory(adapter.directory);
  to.set_identity(adapter.digest);
  load->done = std::move(done);
  std::unique_lock lock(mutex_);
  adapters_[adapter.slot] = to;
  if (!up_) {
    lock.unlock();
    return load->done(OkStatus());
  }
  load->request.set_epoch(status_.epoch);
  load->missing = ranks_.size();
  for (const Rank& rank : ranks_) {
    const auto call = std::make_shared<AdapterCall>();
    rank.worker->stub()->async()->LoadAdapter(
        &call->context, &load->request, &call->response,
        [this, load, context = BeginCall(call, &calls_)](const grpc::Status& status) mutable {
          OnAdapterLoaded(*load, FromGrpc(status));
          EndCall(std::move(context), &calls_);
        });
  }
}

// An epoch that ended meanwhile says nothing of the adapter: the next one reads it.
void WorkerGroup::OnAdapterLoaded(AdapterLoad& load, const Status& status) {
  std::function<void(const Status&)> done;
  Status result;
  {
    std::lock_guard lock(mutex_);
    const bool is_of_epoch = load.request.epoch() == status_.epoch && down_.ok();
    if (!status.ok() && is_of_epoch && load.error.ok()) load.error = status;
    if (--load.missing == 0) {
      done = std::move(load.done);
      result = load.error;
      if (!result.ok()) adapters_.erase(load.request.adapter().slot());
    }
  }
  if (done) done(result);
}

void WorkerGroup::ForgetAdapter(int32_t slot) {
  std::lock_guard lock(mutex_);
  adapters_.erase(slot);
}

void WorkerGroup::AbandonGroup(int64_t epoch, const Status& why) {
  GoDown(epoch, LossCause::kStepError, why);
}

int64_t WorkerGroup::WeightBytesOfARank() const {
  int64_t weight_bytes = 0;
  for (const RankShard& rank : status_.capacity.shards.ranks)
    weight_bytes = std::max(weight_bytes, rank.weight_bytes);
  return weight_bytes;
}

Duration WorkerGroup::Allowance(const StepPlan& plan) const {
  Duration allowance = std::chrono::milliseconds(config_.options.step_timeout_ms) +
                       LongestForTokens(plan.num_tokens(), WeightBytesOfARank());
  for (const EncodeImageItem& item : plan.images) {
    allowance += LongestForPicture(config_.model.vision, pictures_.at(item.image), item.layer_begin,
                                   item.layer_end);
  }
  return allowance;
}

}  // namespace longhand::cluster
