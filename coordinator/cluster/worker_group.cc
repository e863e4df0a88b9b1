#include "coordinator/cluster/worker_group.h"

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <set>
#include <utility>

#include "proto/grpc_status.h"
#include "proto/step_plan_wire.h"

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;
using std::chrono::milliseconds;

constexpr milliseconds kConnectTimeout(2000);
constexpr int kSilentTries = 2;  // after so many a worker is said to be silent
constexpr milliseconds kDeadlineTick(100);
constexpr milliseconds kFirstRetry(50);
constexpr milliseconds kMaxRetry(2000);
// Steps before the engine's own, which count from 1.
constexpr int64_t kWarmUpStep = -1;
constexpr int64_t kWarmUpReleaseStep = 0;
constexpr int64_t kWarmUpSequence = std::numeric_limits<int64_t>::max();
// A hang detector's idea of the slowest honest worker, in weight bytes read a second for each token
// of a step.
constexpr double kSlowestBytesPerSecond = 10e9;

bool IsPermanent(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kPermissionDenied:
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
  // A worker that comes back must be found at once, whatever its predecessor did.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // What one attempt may take; the processors may be busy.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(kConnectTimeout.count()));
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
}

// The interface by which a worker is reached is the one by which its peers reach it.
std::string BindHost(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) return "127.0.0.1";
  return address.substr(0, address.rfind(':'));
}

}  // namespace

WorkerGroup::WorkerGroup(WorkerGroupConfig config, const Clock& clock, GroupObserver observer)
    : config_(std::move(config)), clock_(clock), observer_(std::move(observer)) {
  for (const std::string& address : config_.addresses)
    status_.ranks.push_back({.address = address});
  ranks_.resize(config_.addresses.size());
}

void WorkerGroup::Stop() {
  stopping_ = true;
  {
    std::lock_guard lock(mutex_);
    for (const auto& call : calls_) call->TryCancel();
  }
  changed_.notify_all();
  if (membership_thread_.joinable()) membership_thread_.join();
  CloseStreams();
}

void WorkerGroup::Start(engine::GroupListener& listener) {
  listener_ = &listener;
  membership_thread_ = std::thread([this] { Run(); });
}

GroupStatus WorkerGroup::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

// --- membership thread ---------------------------------------------------------------------------

void WorkerGroup::Run() {
  milliseconds retry = kFirstRetry;
  while (!stopping()) {
    const Status formed = Form();
    if (formed.ok()) {
      retry = kFirstRetry;
      WatchUntilDown();
      CloseStreams();
      continue;
    }
    CloseStreams();
    if (stopping()) return;
    SetState(IsPermanent(formed) ? GroupState::kFailed : GroupState::kConnecting, formed.message());
    if (IsPermanent(formed)) return observer_.on_fatal(formed);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, retry, [&] { return stopping(); });
    retry = std::min(kMaxRetry, retry * 2);
  }
}

Status WorkerGroup::Form() {
  observer_.on_forming();
  {
    std::lock_guard lock(mutex_);
    ++status_.epoch;
    calls_.clear();
    down_ = OkStatus();
    warm_up_steps_ = 0;
    a_rank_failed_ = false;
    ledger_ = std::make_unique<StepLedger>(static_cast<int32_t>(ranks_.size()), clock_);
  }
  LONGHAND_RETURN_IF_ERROR(Connect());
  LONGHAND_RETURN_IF_ERROR(CheckAlike());
  const int64_t memory_bytes = MemoryOfARank();
  LONGHAND_ASSIGN_OR_RETURN(Capacity capacity, PlanCapacity(config_.options, config_.model,
                                                            config_.max_pixels, memory_bytes));
  {
    std::lock_guard lock(mutex_);
    status_.capacity = capacity;
  }
  SetState(GroupState::kLoading, "loading weights");
  LONGHAND_RETURN_IF_ERROR(Configure(capacity));
  OpenStreams();
  LONGHAND_RETURN_IF_ERROR(WarmUp());
  const engine::GroupShape shape{
      .num_ranks = static_cast<int32_t>(ranks_.size()),
      .num_encoder_layers = static_cast<int32_t>(config_.model.vision.depth),
      .num_blocks = capacity.num_blocks,
      .block_size = static_cast<int32_t>(capacity.block_size),
      .encoder_cache_tokens = capacity.encoder_cache_tokens};
  {
    std::lock_guard lock(mutex_);
    LONGHAND_RETURN_IF_ERROR(down_);
    up_ = true;
    listener_->OnGroupUp(status_.epoch, shape);
  }
  SetState(GroupState::kReady, "");
  return OkStatus();
}

// What each rank may take: all get the same, and those that share a memory divide it.
int64_t WorkerGroup::MemoryOfARank() const {
  std::multiset<std::string> owners;
  for (const Rank& rank : ranks_) owners.insert(rank.description.memory_identity());
  int64_t bytes = std::numeric_limits<int64_t>::max();
  for (const Rank& rank : ranks_) {
    const auto sharers = static_cast<int64_t>(owners.count(rank.description.memory_identity()));
    bytes = std::min(bytes, rank.description.memory_bytes() / sharers);
  }
  return bytes;
}

Status WorkerGroup::Connect() {
  SetState(GroupState::kConnecting, "connecting to " + std::to_string(ranks_.size()) + " workers");
  for (size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = ranks_[r];
    rank.channel = OpenChannel(config_.addresses[r]);
    rank.stub = wire::Worker::NewStub(rank.channel);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + kConnectTimeout);
    const grpc::Status status =
        rank.stub->Describe(&context, wire::DescribeRequest(), &rank.description);
    if (!status.ok()) {
      if (++rank.silent_tries >= kSilentTries) observer_.on_silent(static_cast<int32_t>(r));
      return Unavailable("rank ", r, " (", config_.addresses[r],
                         ") does not answer: ", status.error_message());
    }
    rank.silent_tries = 0;
    std::lock_guard lock(mutex_);
    status_.ranks[r].device = rank.description.device();
    // A worker that lived through an earlier coordinator has seen its epochs.
    status_.epoch = std::max(status_.epoch, rank.description.epoch() + 1);
  }
  return OkStatus();
}

// Bits must not depend on which rank computed them.
Status WorkerGroup::CheckAlike() const {
  const wire::DescribeResponse& first = ranks_[0].description;
  for (size_t r = 1; r < ranks_.size(); ++r) {
    const wire::DescribeResponse& other = ranks_[r].description;
    if (other.version() != first.version() || other.device() != first.device() ||
        other.instruction_set() != first.instruction_set()) {
      return Status(StatusCode::kFailedPrecondition,
                    "rank " + std::to_string(r) + " is " + other.version() + " on " +
                        other.device() + " (" + other.instruction_set() + "), rank 0 is " +
                        first.version() + " on " + first.device() + " (" + first.instruction_set() +
                        "); all ranks must be alike");
    }
  }
  return OkStatus();
}

Status WorkerGroup::Configure(const Capacity& capacity) {
  std::vector<Status> results(ranks_.size());
  std::vector<std::thread> calls;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    calls.emplace_back([&, r] {
      results[r] = ConfigureRank(static_cast<int32_t>(r), capacity);
      if (results[r].ok()) return;
      // The others would wait for this rank, those too whose call is still to come.
      std::lock_guard lock(mutex_);
      a_rank_failed_ = true;
      for (const auto& call : calls_) call->TryCancel();
    });
  }
  for (std::thread& call : calls) call.join();
  // The rank that failed first made the others kCancelled: report the cause.
  const auto failed = [](const Status& s) { return !s.ok() && s.code() != StatusCode::kCancelled; };
  const auto cause = std::find_if(results.begin(), results.end(), failed);
  if (cause != results.end()) return *cause;
  for (const Status& result : results) LONGHAND_RETURN_IF_ERROR(result);
  return OkStatus();
}

Status WorkerGroup::ConfigureRank(int32_t rank, const Capacity& capacity) {
  const auto context = std::make_shared<grpc::ClientContext>();
  wire::ConfigureRequest request;
  {
    std::lock_guard lock(mutex_);
    calls_.push_back(context);
    if (stopping() || a_rank_failed_) context->TryCancel();
    request = MakeConfigureRequest(rank, capacity);
  }
  const auto reader = ranks_[static_cast<size_t>(rank)].stub->Configure(context.get(), request);
  bool ready = false;
  for (wire::ConfigureProgress progress; reader->Read(&progress);) {
    std::lock_guard lock(mutex_);
    RankStatus& status = status_.ranks[static_cast<size_t>(rank)];
    ready = progress.ready();
    status.state = ready ? GroupState::kReady : GroupState::kLoading;
    if (progress.bytes_total() > 0) {
      status.load_progress =
          static_cast<float>(progress.bytes_done()) / static_cast<float>(progress.bytes_total());
    }
    if (ready) {
      status.load_progress = 1;
      status.weight_bytes = progress.weight_bytes();
      status.kv_cache_bytes = progress.kv_cache_bytes();
    }
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return FromGrpc(status).WithContext("rank " + std::to_string(rank));
  if (!ready) return Internal("rank ", rank, " ended its configuration without being ready");
  return OkStatus();
}

wire::ConfigureRequest WorkerGroup::MakeConfigureRequest(int32_t rank,
                                                         const Capacity& capacity) const {
  wire::ConfigureRequest request;
  request.set_epoch(status_.epoch);
  request.set_rank(rank);
  request.set_tensor_parallel_size(static_cast<int32_t>(ranks_.size()));
  request.set_model_directory(config_.model.directory.string());
  request.set_dtype(std::string(DTypeName(capacity.dtype)));
  request.set_kv_cache_dtype(std::string(DTypeName(capacity.kv_dtype)));
  request.set_num_blocks(capacity.num_blocks);
  request.set_block_size(static_cast<int32_t>(capacity.block_size));
  request.set_max_num_batched_tokens(config_.options.max_num_batched_tokens);
  request.set_max_num_seqs(config_.options.max_num_seqs);
  request.set_max_model_len(capacity.max_model_len);
  request.set_encoder_cache_tokens(capacity.encoder_cache_tokens);
  request.set_image_bytes(capacity.image_bytes);
  request.set_max_patches_per_image(capacity.max_patches_per_image);
  request.set_transport(ChooseTransport());
  request.set_group_name(config_.group_name);
  request.set_rendezvous_address(rendezvous_address_);
  request.set_bind_address(BindHost(config_.addresses[static_cast<size_t>(rank)]));
  request.set_collective_timeout_ms(config_.options.step_timeout_ms);
  request.set_memory_bytes(MemoryOfARank());
  return request;
}

wire::Transport WorkerGroup::ChooseTransport() const {
  if (ranks_.size() == 1) return wire::TRANSPORT_SINGLE;
  const std::string& wanted = config_.options.transport;
  if (wanted == "gloo") return wire::TRANSPORT_GLOO;
  if (wanted == "shared_memory") return wire::TRANSPORT_SHARED_MEMORY;
  const wire::DescribeResponse& first = ranks_[0].description;
  if (first.device() == "cuda") return wire::TRANSPORT_NCCL;
  const bool one_host = std::all_of(ranks_.begin(), ranks_.end(), [&](const Rank& rank) {
    return rank.description.host_identity() == first.host_identity();
  });
  return one_host ? wire::TRANSPORT_SHARED_MEMORY : wire::TRANSPORT_GLOO;
}

void WorkerGroup::OpenStreams() {
  const int64_t epoch = status().epoch;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    auto stream = StepStream::Open(
        *ranks_[r].stub,
        {.on_result = [this, epoch](StepResult result) { OnResult(epoch, std::move(result)); },
         .on_closed =
             [this, epoch, r](const Status& status) {
               GoDown(epoch, Unavailable("worker rank ", r, " (", config_.addresses[r],
                                         ") was lost: ", status.message()));
               std::lock_guard lock(mutex_);
               --open_callbacks_;
               changed_.notify_all();
             }});
    std::lock_guard lock(mutex_);
    ++open_callbacks_;
    ranks_[r].stream = std::move(stream);
  }
}

// One token through every rank shows that plans are executed, before the engine relies on it.
Status WorkerGroup::WarmUp() {
  SetState(GroupState::kLoading, "warming up");
  const int64_t epoch = status().epoch;
  StepPlan plan{.epoch = epoch, .step = kWarmUpStep};
  plan.chunks.push_back({.sequence_id = kWarmUpSequence,
                         .token_ids = {0},
                         .positions = {0, 0, 0},
                         .new_block_ids = {0},
                         .start = {SequenceStart{.sampling = {.temperature = 0}}},
                         .sample = true});
  Execute(std::move(plan));
  Execute({.epoch = epoch, .step = kWarmUpReleaseStep, .released_sequences = {kWarmUpSequence}});
  std::unique_lock lock(mutex_);
  while (down_.ok() && warm_up_steps_ < 2 && !stopping()) {
    changed_.wait_for(lock, kDeadlineTick);
    LONGHAND_RETURN_IF_ERROR(ledger_->CheckDeadline());
  }
  if (stopping()) return Cancelled("stopping");
  return down_;
}

void WorkerGroup::WatchUntilDown() {
  std::unique_lock lock(mutex_);
  while (down_.ok() && !stopping()) {
    changed_.wait_for(lock, kDeadlineTick);
    const Status deadline = ledger_->CheckDeadline();
    if (deadline.ok() || !down_.ok()) continue;
    const int64_t epoch = status_.epoch;
    lock.unlock();
    GoDown(epoch, Unavailable(deadline.message()));
    lock.lock();
  }
  const Status why = down_;
  lock.unlock();
  if (stopping()) return;
  spdlog::warn("worker group down, epoch {}: {}", status().epoch, why.message());
  SetState(GroupState::kConnecting, why.message());
}

// Waits until no callback can come any more, so that a new epoch starts clean.
void WorkerGroup::CloseStreams() {
  std::unique_lock lock(mutex_);
  for (Rank& rank : ranks_) {
    if (rank.stream) rank.stream->Cancel();
    rank.stream.reset();
  }
  changed_.wait(lock, [&] { return open_callbacks_ == 0; });
}

void WorkerGroup::SetState(GroupState state, std::string detail) {
  GroupStatus copy;
  {
    std::lock_guard lock(mutex_);
    status_.state = state;
    status_.detail = std::move(detail);
    if (state == GroupState::kConnecting) {
      for (RankStatus& rank : status_.ranks) {
        rank.state = state;
        rank.load_progress = 0;
      }
    }
    copy = status_;
  }
  observer_.on_change(copy);
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
  if (!joined.ok()) {
    lock.unlock();
    return GoDown(epoch, Unavailable(joined.status().message()));
  }
  if (!joined->has_value()) return;
  StepResult done = std::move(**joined);
  if (done.step > kWarmUpReleaseStep) return listener_->OnStepResult(std::move(done));
  ++warm_up_steps_;
  changed_.notify_all();
  lock.unlock();
  if (!done.status.ok()) GoDown(epoch, done.status.WithContext("the first step failed"));
}

void WorkerGroup::GoDown(int64_t epoch, const Status& why) {
  std::lock_guard lock(mutex_);
  if (epoch != status_.epoch || !down_.ok()) return;
  down_ = why;
  if (std::exchange(up_, false)) listener_->OnGroupDown(epoch, why);
  for (const auto& call : calls_) call->TryCancel();
  changed_.notify_all();
}

// --- engine thread -------------------------------------------------------------------------------

void WorkerGroup::Execute(StepPlan plan) {
  auto request = std::make_shared<wire::ExecuteStepRequest>();
  ToWire(plan, request.get());
  std::lock_guard lock(mutex_);
  if (plan.epoch != status_.epoch || !down_.ok()) return;
  ledger_->Sent(plan.step, Allowance(plan));
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
  upload->missing = ranks_.size();
  for (const Rank& rank : ranks_) {
    auto call = std::make_shared<PutImageCall>();
    ++open_callbacks_;  // CloseStreams waits for these calls too.
    calls_.push_back(std::shared_ptr<grpc::ClientContext>(call, &call->context));
    rank.stub->async()->PutImage(&call->context, &upload->request, &call->response,
                                 [this, call, upload](const grpc::Status& status) {
                                   OnImagePut(*upload, call->context, FromGrpc(status));
                                 });
  }
}

void WorkerGroup::OnImagePut(ImageUpload& upload,
                             const grpc::ClientContext& context,
                             const Status& status) {
  const int64_t epoch = upload.request.epoch();
  if (!status.ok())
    GoDown(epoch, Unavailable("a worker did not take a picture: ", status.message()));
  std::lock_guard lock(mutex_);
  const bool complete = --upload.missing == 0;
  if (complete && epoch == status_.epoch && down_.ok()) listener_->OnImageReady(epoch, upload.hash);
  std::erase_if(calls_, [&](const auto& call) { return call.get() == &context; });
  --open_callbacks_;
  changed_.notify_all();
}

void WorkerGroup::AbandonGroup(int64_t epoch, const Status& why) { GoDown(epoch, why); }

Duration WorkerGroup::Allowance(const StepPlan& plan) const {
  int64_t weight_bytes = 0;
  for (const RankShard& rank : status_.capacity.shards.ranks) {
    weight_bytes = std::max(weight_bytes, rank.weight_bytes);
  }
  const double seconds = static_cast<double>(plan.num_tokens()) *
                         static_cast<double>(weight_bytes) / kSlowestBytesPerSecond;
  return milliseconds(config_.options.step_timeout_ms) +
         milliseconds(static_cast<int64_t>(seconds * 1000));
}

}  // namespace longhand::cluster
