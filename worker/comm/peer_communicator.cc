#include "worker/comm/peer_communicator.h"

#include <algorithm>
#include <atomic>
#include <sstream>
#include <utility>

#include "worker/comm/collective_checks.h"
#include "worker/comm/host_identity.h"
#include "worker/comm/sum_timer.h"

namespace longhand::comm {
namespace {

// Sizes that are timed, each four times the one before.
constexpr size_t kLeastTimedBytes = 4 << 10;

// A sum without a norm goes in rows of so many elements (kernels/cuda/peer_collectives.cu).
constexpr int64_t kSumRow = 2048;
constexpr int64_t kGatherRow = 4096;

void Store(uint32_t* word, uint32_t value) { std::atomic_ref<uint32_t>(*word).store(value); }
uint32_t Load(uint32_t* word) { return std::atomic_ref<uint32_t>(*word).load(); }

}  // namespace

PeerCommunicator::PeerCommunicator(const PeerOptions& options,
                                   std::unique_ptr<Communicator> inner,
                                   PeerDevice& device)
    : options_(options),
      inner_(std::move(inner)),
      device_(device),
      group_(device.MakePeerGroup()),
      memory_(static_cast<size_t>(inner_->size())) {
  group_.rank = inner_->rank();
  group_.size = inner_->size();
  group_.timeout_ns = static_cast<uint64_t>(std::chrono::nanoseconds(options.timeout).count());
}

PeerCommunicator::~PeerCommunicator() {
  if (control_ != nullptr) Store(&control_->abort, 1);
  inner_.reset();
  // No kernel of this rank may still read what goes now; those of others may read this rank's.
  (void)device_.DrainPeerCalls();
  auto& own = memory_[static_cast<size_t>(group_.rank)];
  if (own != nullptr) device_.RetirePeerMemory(std::move(own));
}

Result<std::unique_ptr<Communicator>> PeerCommunicator::Connect(const PeerOptions& options,
                                                                std::unique_ptr<Communicator> inner,
                                                                PeerDevice& device,
                                                                KeyValueStore& store,
                                                                std::stop_token stop) {
  const auto log = [&](const std::string& line) {
    if (options.log) options.log(line);
  };
  if (inner->size() > kMaxPeers) {
    log("ranks exchange without kernels of their own: at most " + std::to_string(kMaxPeers) +
        " ranks can");
    return inner;
  }
  std::unique_ptr<PeerCommunicator> peers(new PeerCommunicator(options, std::move(inner), device));
  const Status exchanged = peers->Exchange(store, stop);
  if (stop.stop_requested()) return Aborted("forming the group was aborted");
  if (exchanged.code() == StatusCode::kFailedPrecondition) {
    log("ranks exchange without kernels of their own: " + std::string(exchanged.message()));
    return std::move(peers->inner_);
  }
  LONGHAND_RETURN_IF_ERROR(exchanged);
  log("sums over ranks: " + peers->ways_.ToString() + peers->measured_);
  peers->thread_.Detach();
  return std::unique_ptr<Communicator>(std::move(peers));
}

Status PeerCommunicator::Publish(KeyValueStore& store,
                                 const std::string& what,
                                 const std::string& value) const {
  return store.Set("peer/" + options_.group + "/" + std::to_string(options_.epoch) + "/" + what +
                       "/" + std::to_string(group_.rank),
                   value);
}

Result<std::string> PeerCommunicator::Read(KeyValueStore& store,
                                           const std::string& what,
                                           int rank,
                                           const std::stop_token& stop) const {
  return store.Get("peer/" + options_.group + "/" + std::to_string(options_.epoch) + "/" + what +
                       "/" + std::to_string(rank),
                   options_.timeout, stop);
}

Status PeerCommunicator::Exchange(KeyValueStore& store, const std::stop_token& stop) {
  // All are here, as the communicator below has formed: nobody is left in a group before.
  device_.FreeRetiredPeerMemory();
  // Each rank says how it went, so that all go on alike.
  const Status opened = ExchangeMemory(store, stop);
  LONGHAND_RETURN_IF_ERROR(
      Publish(store, "opened", opened.ok() ? "" : std::string(opened.message())));
  std::string reason;
  for (int r = 0; r < group_.size; ++r) {
    LONGHAND_ASSIGN_OR_RETURN(const std::string failed, Read(store, "opened", r, stop));
    if (reason.empty() && !failed.empty()) reason = "rank " + std::to_string(r) + ": " + failed;
  }
  if (memory_[static_cast<size_t>(group_.rank)] != nullptr) {
    memory_[static_cast<size_t>(group_.rank)]->Close();
  }
  if (!reason.empty()) return FailedPrecondition(reason);
  return ChooseWays(store, stop);
}

Status PeerCommunicator::AllocateOwn() {
  LONGHAND_ASSIGN_OR_RETURN(control_, device_.AllocatePeerControl());
  group_.control = control_.get();
  LONGHAND_ASSIGN_OR_RETURN(memory_[static_cast<size_t>(group_.rank)],
                            device_.AllocatePeerMemory(static_cast<size_t>(group_.memory_bytes())));
  return OkStatus();
}

// kFailedPrecondition, or what else, where this rank cannot read all the others' memory.
Status PeerCommunicator::ExchangeMemory(KeyValueStore& store, const std::stop_token& stop) {
  const std::string host = HostIdentity() + "\n";
  const Status allocated = AllocateOwn();
  auto& own = memory_[static_cast<size_t>(group_.rank)];
  // Without a handle, too: the others wait for it.
  LONGHAND_RETURN_IF_ERROR(
      Publish(store, "memory", host + (allocated.ok() ? own->handle() : std::string())));
  LONGHAND_RETURN_IF_ERROR(allocated);
  for (int r = 0; r < group_.size; ++r) {
    auto& memory = memory_[static_cast<size_t>(r)];
    if (r != group_.rank) {
      LONGHAND_ASSIGN_OR_RETURN(const std::string value, Read(store, "memory", r, stop));
      if (value.compare(0, host.size(), host) != 0) {
        return FailedPrecondition("rank ", r, " is on another host");
      }
      if (value.size() == host.size()) return OkStatus();  // That rank says why.
      LONGHAND_ASSIGN_OR_RETURN(memory, device_.OpenPeerMemory(value.substr(host.size())));
    }
    group_.memory[r] = memory->data();
  }
  return OkStatus();
}

Status PeerCommunicator::ChooseWays(KeyValueStore& store, const std::stop_token& stop) {
  const auto most = static_cast<size_t>(group_.max_blocks * group_.region_bytes);
  if (!device_.IsTimed()) {
    ways_ = SumWays(most / 4, most);
    return OkStatus();
  }
  // What is timed waits for the peers, and knows nothing of `stop`.
  const std::stop_callback abort_on_stop(stop, [this] { Abort(); });
  LONGHAND_ASSIGN_OR_RETURN(SumTimer timer,
                            SumTimer::Create(group_, device_, *inner_, options_.now, most));
  std::vector<SumTimes> times;
  std::ostringstream text;
  text << "; measured with norm (one shot, two, the other way):";
  for (size_t bytes = kLeastTimedBytes; bytes <= most; bytes *= 4) {
    auto timed = timer.Time(bytes);
    LONGHAND_RETURN_IF_ERROR(CheckControl());
    LONGHAND_RETURN_IF_ERROR(timed.status());
    text << (times.empty() ? " " : ", ") << bytes << " bytes " << timed->of(SumWay::kOneShot)
         << ", " << timed->of(SumWay::kTwoShots) << ", " << timed->of(SumWay::kOther) << " us";
    times.push_back(*timed);
  }
  measured_ = text.str();
  if (group_.rank == 0) {
    ways_ = SumWays::Choose(times);
    return Publish(store, "ways", ways_.Encode());
  }
  LONGHAND_ASSIGN_OR_RETURN(const std::string told, Read(store, "ways", 0, stop));
  LONGHAND_ASSIGN_OR_RETURN(ways_, SumWays::Decode(told));
  return OkStatus();
}

bool PeerCommunicator::IsTwoShot(const TensorView& data) const {
  return ways_.For(data.num_bytes()) == SumWay::kTwoShots;
}

bool PeerCommunicator::GoesByKernel(const TensorView& data, bool by_row) const {
  if (data.num_bytes() == 0 || ways_.For(data.num_bytes()) == SumWay::kOther) return false;
  const auto width = static_cast<int64_t>(DTypeSize(data.dtype()));
  const int64_t row = by_row ? data.num_elements() / data.dim(0) : kSumRow;
  return group_.BlocksFor((data.num_elements() + row - 1) / row, row * width,
                          IsTwoShot(data) ? group_.size : 1) > 0;
}

Status PeerCommunicator::AllReduceSum(TensorView data) {
  CheckAllReduce(data);
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  if (!GoesByKernel(data, /*by_row=*/false)) return inner_->AllReduceSum(data);
  return device_.PeerReduce({.group = &group_, .data = data, .two_shot = IsTwoShot(data)});
}

bool PeerCommunicator::FusesNorm(const TensorView& data) const {
  return GoesByKernel(data, /*by_row=*/true);
}

Status PeerCommunicator::AllReduceSumNorm(const SumNormArgs& args) {
  CheckAllReduce(args.data);
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  LONGHAND_CHECK(FusesNorm(args.data)) << args.data.ToString();
  return device_.PeerReduce({.group = &group_,
                             .data = args.data,
                             .residual = args.residual,
                             .weight = args.weight,
                             .eps = args.eps,
                             .out = args.out,
                             .scale = args.scale,
                             .two_shot = IsTwoShot(args.data)});
}

Status PeerCommunicator::AllGather(TensorView local, TensorView all) {
  CheckAllGather(local, all, group_.size);
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  const auto bytes = static_cast<int64_t>(local.num_bytes());
  const int64_t num_rows = (bytes + kGatherRow - 1) / kGatherRow;
  if (bytes == 0 || group_.BlocksFor(num_rows, kGatherRow, 1) == 0) {
    return inner_->AllGather(local, all);
  }
  return device_.PeerGather({.group = &group_, .local = local, .all = all});
}

Status PeerCommunicator::Broadcast(TensorView data, int root) {
  LONGHAND_RETURN_IF_ERROR(failure_);
  return inner_->Broadcast(data, root);
}

Status PeerCommunicator::Barrier() {
  LONGHAND_RETURN_IF_ERROR(failure_);
  LONGHAND_RETURN_IF_ERROR(inner_->Barrier());
  return CheckControl();
}

Status PeerCommunicator::Synchronize() {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  return Judge(inner_->Synchronize());
}

Result<bool> PeerCommunicator::HasDone(const Reached& reached, TimePoint since) {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  const Result<bool> done = inner_->HasDone(reached, since);
  LONGHAND_RETURN_IF_ERROR(Judge(done.status()));
  return done;
}

Status PeerCommunicator::Judge(const Status& waited) {
  // What the others say comes second to what this rank's own kernels saw.
  const Status seen = CheckControl();
  if (!seen.ok() || waited.ok()) return seen;
  Store(&control_->abort, 1);
  return failure_ = waited;
}

Status PeerCommunicator::CheckControl() {
  if (Load(&control_->abort) != 0) {
    failure_ = Aborted("the communicator was aborted");
  } else if (Load(&control_->timed_out) != 0) {
    failure_ = DeadlineExceeded("a peer did not come to an exchange within ",
                                options_.timeout.count(), " ms");
    inner_->Abort();
  }
  return failure_;
}

bool PeerCommunicator::CanBeRecorded(size_t max_bytes) const {
  if (inner_->CanBeRecorded(max_bytes)) return true;
  // Then no call may be too large for kernels, of which two shots have less room.
  const auto bytes = static_cast<int64_t>(max_bytes);
  const int64_t row_bytes = kSumRow * static_cast<int64_t>(sizeof(float));
  return ways_.AreKernelsUpTo(max_bytes) &&
         group_.BlocksFor((bytes + row_bytes - 1) / row_bytes, row_bytes, group_.size) > 0 &&
         group_.BlocksFor(bytes / kGatherRow + 1, kGatherRow, 1) > 0;
}

void PeerCommunicator::Abort() {
  if (control_ != nullptr) Store(&control_->abort, 1);
  inner_->Abort();
}

}  // namespace longhand::comm
