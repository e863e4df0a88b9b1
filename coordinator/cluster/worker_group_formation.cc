// The membership thread of a WorkerGroup: forms it, and forms it again when it is lost.
#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "common/address.h"
#include "coordinator/cluster/warm_up.h"
#include "coordinator/cluster/worker_group.h"
#include "proto/grpc_status.h"

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;
using std::chrono::milliseconds;

// So long the workers of all ranks are looked for before the next try.
constexpr milliseconds kConnectPatience(2000);
constexpr milliseconds kLookEvery(10);
constexpr int kSilentTries = 2;  // after so many a worker is said to be silent
constexpr milliseconds kFirstRetry(50);
constexpr milliseconds kMaxRetry(2000);

// Whether every try will end so. What a group had room for once it may have again: memory of ranks
// that are gone is on its way back, or others have it for a while.
bool IsPermanent(const Status& status, bool has_formed) {
  switch (status.code()) {
    case StatusCode::kResourceExhausted:
      return !has_formed;
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kPermissionDenied:
    case StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

// The interface by which a worker is reached is the one by which its peers reach it.
std::string BindHost(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) return "127.0.0.1";
  const Result<Address> parsed = Address::Parse(address);
  return parsed.ok() ? parsed->host : address;  // Checked where --workers is read.
}

}  // namespace

void WorkerGroup::Run() {
  milliseconds retry = kFirstRetry;
  bool has_formed = false;
  while (!stopping()) {
    const Status formed = Form();
    if (formed.ok()) {
      retry = kFirstRetry;
      has_formed = true;
      WaitUntilDown();
      CloseStreams();
      continue;
    }
    CloseStreams();
    if (stopping()) return;
    const bool is_permanent = IsPermanent(formed, has_formed);
    SetState(is_permanent ? GroupState::kFailed : GroupState::kConnecting, formed.message());
    if (is_permanent) return observer_.on_fatal(formed);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, retry, [&] { return stopping(); });
    retry = std::min(kMaxRetry, retry * 2);
  }
}

Status WorkerGroup::Form() {
  observer_.on_forming();
  roster_.Leave(config_.group);
  {
    std::lock_guard lock(mutex_);
    ++status_.epoch;
    calls_.contexts.clear();
    pictures_.clear();
    down_ = OkStatus();
    has_ranks_ = false;
    warm_up_steps_ = 0;
    a_rank_failed_ = false;
    status_.stalled.clear();
    ledger_ = std::make_unique<StepLedger>(static_cast<int32_t>(ranks_.size()));
  }
  LONGHAND_RETURN_IF_ERROR(Connect());
  LONGHAND_RETURN_IF_ERROR(CheckRanksAlike());
  LONGHAND_ASSIGN_OR_RETURN(Capacity capacity,
                            PlanCapacity(config_.options, config_.model, config_.max_pixels,
                                         MemoryOfARank(), HostMemoryOfARank()));
  {
    std::lock_guard lock(mutex_);
    status_.capacity = capacity;
    configured_adapters_ = adapters_;
    has_ranks_ = true;
  }
  SetState(GroupState::kLoading, "loading weights");
  const Status configured = Configure(capacity);
  {
    // Whatever ended the epoch meanwhile is the cause of what the calls say.
    std::lock_guard lock(mutex_);
    LONGHAND_RETURN_IF_ERROR(down_);
  }
  LONGHAND_RETURN_IF_ERROR(configured);
  OpenStreams();
  LONGHAND_RETURN_IF_ERROR(WarmUp());
  const engine::GroupShape shape{
      .num_ranks = static_cast<int32_t>(ranks_.size()),
      .num_encoder_layers = static_cast<int32_t>(config_.model.vision.depth),
      .num_blocks = capacity.num_blocks,
      .num_host_blocks = capacity.num_host_blocks,
      .block_size = static_cast<int32_t>(capacity.block_size),
      .encoder_cache_tokens = capacity.encoder_cache_tokens};
  {
    std::lock_guard lock(mutex_);
    LONGHAND_RETURN_IF_ERROR(down_);
    for (const auto& [slot, adapter] : adapters_) {
      const auto has = configured_adapters_.find(slot);
      if (has != configured_adapters_.end() && has->second.identity() == adapter.identity())
        continue;
      return Unavailable("an adapter was loaded while the group formed");
    }
    up_ = true;
    listener_->OnGroupUp(status_.epoch, shape);
  }
  SetState(GroupState::kReady, "");
  return OkStatus();
}

// A living worker for each rank: its own, or a spare that is there already.
Status WorkerGroup::Connect() {
  SetState(GroupState::kConnecting, "connecting to " + std::to_string(ranks_.size()) + " workers");
  const Status located = Locate();
  const TimePoint begin = clock_.Now();
  while (!FillPlaces()) {
    if (clock_.Now() - begin > kConnectPatience) break;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLookEvery, [&] { return stopping(); });
    if (stopping()) return Cancelled("stopping");
  }
  Status status;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    WorkerLink& worker = *ranks_[r].worker;
    const auto idx = static_cast<size_t>(WorkerIdx(&worker));
    silent_tries_[idx] = worker.alive() ? 0 : silent_tries_[idx] + 1;
    if (worker.alive()) continue;
    if (silent_tries_[idx] >= kSilentTries) {
      worker.Close();
      observer_.on_silent(static_cast<int32_t>(idx));
    }
    status = Unavailable("rank ", r, " (", worker.address(), ") does not answer");
  }
  if (!status.ok()) return located.ok() ? status : located;
  std::lock_guard lock(mutex_);
  SetRanks();
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const wire::DescribeResponse description = ranks_[r].worker->description();
    status_.ranks[r].device = description.device();
    // A worker that lived through an earlier coordinator has seen its epochs.
    status_.epoch = std::max(
        {status_.epoch, description.epoch() + 1, ranks_[r].worker->heartbeat().latest().epoch + 1});
  }
  return OkStatus();
}

Status WorkerGroup::Locate() {
  if (!config_.locate) return OkStatus();
  std::vector<size_t> lost;
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (!workers_[i]->alive()) lost.push_back(i);
  }
  const WorkerDirectory::Listing listing = config_.locate(lost);
  for (size_t i = 0; i < lost.size(); ++i) workers_[lost[i]]->MoveTo(listing.addresses[i]);
  return listing.status;
}

// Whether all ranks have a living worker; looks for those that have none. A spare in a lost one's
// place leaves it its own: it may come back.
bool WorkerGroup::FillPlaces() {
  std::lock_guard lock(mutex_);
  bool all = true;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = ranks_[r];
    if (rank.worker->alive()) continue;
    // The one that was prepared for this rank, or else any.
    const auto alive = [](const Spare& spare) { return spare.worker->alive(); };
    auto spare = spares_.end();
    for (auto each = spares_.begin(); each != spares_.end(); ++each) {
      const bool is_for_rank = static_cast<size_t>(each - spares_.begin()) % ranks_.size() == r;
      if (alive(*each) && (spare == spares_.end() || is_for_rank)) spare = each;
    }
    if (spare != spares_.end()) {
      spdlog::warn("worker {} takes the place of rank {} from {}", spare->worker->address(), r,
                   rank.worker->address());
      rank.worker->Close();
      std::swap(rank.worker, spare->worker);
      spare->prepared = Spare::Prepared::kNo;
      continue;
    }
    rank.worker->Open();
    all = false;
  }
  return all;
}

// What each rank may take: all get the same. Those that share a memory divide it, with other
// groups' and with spares.
int64_t WorkerGroup::MemoryOfARank() const {
  int64_t bytes = std::numeric_limits<int64_t>::max();
  for (const Rank& rank : ranks_) {
    bytes = std::min(bytes, roster_.BytesFor(*rank.worker, Roster::Memory::kOwn));
  }
  return bytes;
}

// The same of host memory, beside a GPU's.
int64_t WorkerGroup::HostMemoryOfARank() const {
  int64_t bytes = std::numeric_limits<int64_t>::max();
  for (const Rank& rank : ranks_) {
    bytes = std::min(bytes, roster_.BytesFor(*rank.worker, Roster::Memory::kOfHost));
  }
  return bytes;
}

Status WorkerGroup::CheckRanksAlike() const {
  const wire::DescribeResponse first = ranks_[0].worker->description();
  for (size_t r = 1; r < ranks_.size(); ++r) {
    LONGHAND_RETURN_IF_ERROR(
        CheckAlike("rank " + std::to_string(r), ranks_[r].worker->description(), "rank 0", first));
  }
  return roster_.Enter(config_.group, first);
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
      for (const auto& call : calls_.contexts) call->TryCancel();
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
  std::shared_ptr<WorkerLink::Stub> stub;
  {
    std::lock_guard lock(mutex_);
    calls_.contexts.push_back(context);
    if (stopping() || a_rank_failed_ || !down_.ok()) context->TryCancel();
    request = MakeConfigureRequest(rank, capacity);
    stub = ranks_[static_cast<size_t>(rank)].worker->stub();
    request.set_bind_address(BindHost(ranks_[static_cast<size_t>(rank)].worker->address()));
  }
  const auto reader = stub->Configure(context.get(), request);
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

// With mutex_ held. Without bind_address.
wire::ConfigureRequest WorkerGroup::MakeConfigureRequest(int32_t rank,
                                                         const Capacity& capacity) const {
  wire::ConfigureRequest request;
  request.set_epoch(status_.epoch);
  request.set_rank(rank);
  request.set_tensor_parallel_size(static_cast<int32_t>(ranks_.size()));
  request.set_model_directory(config_.model.directory.string());
  request.set_dtype(std::string(DTypeName(capacity.dtype)));
  request.set_kv_cache_dtype(std::string(DTypeName(capacity.kv_dtype)));
  request.set_quantization(std::string(QuantizationName(capacity.quantization)));
  request.set_num_blocks(capacity.num_blocks);
  request.set_num_host_blocks(capacity.num_host_blocks);
  request.set_block_size(static_cast<int32_t>(capacity.block_size));
  request.set_max_num_batched_tokens(config_.options.max_num_batched_tokens);
  request.set_max_num_seqs(config_.options.num_seqs());
  request.set_max_model_len(capacity.max_model_len);
  request.set_encoder_cache_tokens(capacity.encoder_cache_tokens);
  request.set_image_bytes(capacity.image_bytes);
  request.set_max_patches_per_image(capacity.max_patches_per_image);
  request.set_transport(ChooseTransport());
  request.set_group_name(config_.group_name);
  request.set_rendezvous_address(rendezvous_address_);
  request.set_collective_timeout_ms(config_.options.step_timeout_ms);
  request.set_memory_bytes(MemoryOfARank());
  if (config_.options.data_parallel_size > 1) request.set_group(std::to_string(config_.group));
  request.set_may_vary(!config_.options.deterministic);
  request.set_max_loras(config_.options.num_loras());
  request.set_max_lora_rank(config_.options.max_lora_rank);
  for (const auto& [slot, adapter] : adapters_) *request.add_adapters() = adapter;
  return request;
}

wire::Transport WorkerGroup::ChooseTransport() const {
  if (ranks_.size() == 1) return wire::TRANSPORT_SINGLE;
  const std::string& wanted = config_.options.transport;
  if (wanted == "gloo") return wire::TRANSPORT_GLOO;
  if (wanted == "shared_memory") return wire::TRANSPORT_SHARED_MEMORY;
  const wire::DescribeResponse first = ranks_[0].worker->description();
  if (first.device() == "cuda") return wire::TRANSPORT_NCCL;
  const bool one_host = std::all_of(ranks_.begin(), ranks_.end(), [&](const Rank& rank) {
    return rank.worker->description().host_identity() == first.host_identity();
  });
  return one_host ? wire::TRANSPORT_SHARED_MEMORY : wire::TRANSPORT_GLOO;
}

void WorkerGroup::OpenStreams() {
  const int64_t epoch = status().epoch;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    WorkerLink& worker = *ranks_[r].worker;
    auto stream = StepStream::Open(
        *worker.stub(),
        {.on_result = [this, epoch](StepResult result) { OnResult(epoch, std::move(result)); },
         .on_closed =
             [this, epoch, r, &worker](const Status& status) {
               if (status.code() == StatusCode::kUnavailable) worker.Close();  // It is not there.
               GoDown(epoch, LossCause::kConnection,
                      Unavailable("worker rank ", r, " (", worker.address(),
                                  ") was lost: ", status.message()));
               std::lock_guard lock(mutex_);
               --calls_.num_callbacks;
               changed_.notify_all();
             }});
    std::lock_guard lock(mutex_);
    ++calls_.num_callbacks;
    ranks_[r].stream = std::move(stream);
  }
}

// One token through every rank shows that plans are executed, before the engine relies on it.
Status WorkerGroup::WarmUp() {
  SetState(GroupState::kWarmingUp, "warming up");
  const int64_t epoch = status().epoch;
  Execute(WarmUpPlan(epoch));
  Execute({.epoch = epoch, .step = kWarmUpReleaseStep, .released_sequences = {kWarmUpSequence}});
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !down_.ok() || warm_up_steps_ == 2 || stopping(); });
  if (stopping()) return Cancelled("stopping");
  return down_;
}

void WorkerGroup::WaitUntilDown() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !down_.ok() || stopping(); });
  status_.stalled.clear();
  const Status why = down_;
  lock.unlock();
  if (stopping()) return;
  const std::string which =
      config_.options.data_parallel_size > 1 ? " " + std::to_string(config_.group) : "";
  spdlog::warn("worker group{} down, epoch {}: {}", which, status().epoch, why.message());
  SetState(GroupState::kConnecting, why.message());
}

// Waits until no callback can come any more, so that a new epoch starts clean.
void WorkerGroup::CloseStreams() {
  std::unique_lock lock(mutex_);
  for (Rank& rank : ranks_) {
    if (rank.stream) rank.stream->Cancel();
    rank.stream.reset();
  }
  changed_.wait(lock, [&] { return calls_.num_callbacks == 0; });
}

void WorkerGroup::SetState(GroupState state, std::string detail) {
  GroupStatus copy;
  {
    std::lock_guard lock(mutex_);
    status_.state = state;
    status_.was_ready |= state == GroupState::kReady;
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

}  // namespace longhand::cluster
