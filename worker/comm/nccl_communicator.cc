#include "worker/comm/nccl_communicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "worker/comm/collective_checks.h"

namespace longhand::comm {
namespace {

using std::chrono::steady_clock;

// Up to here a sum is one exchange instead of two. Not measured on GPUs.
constexpr size_t kSmallSumBytes = 256 << 10;
// Between two looks at NCCL's own state, in looks at the device's.
constexpr int kLooksPerPoll = 64;
constexpr std::chrono::microseconds kPause{20};

std::string IdKey(const NcclOptions& options) {
  return "nccl/" + options.group + "/" + std::to_string(options.epoch) + "/id";
}

}  // namespace

Result<std::unique_ptr<NcclCommunicator>> NcclCommunicator::Connect(const NcclOptions& options,
                                                                    DeviceStream& stream,
                                                                    KeyValueStore& store,
                                                                    std::stop_token stop) {
  LONGHAND_CHECK(options.scratch_bytes >= 16 * static_cast<size_t>(options.size))
      << options.scratch_bytes << " bytes of scratch";
  LONGHAND_ASSIGN_OR_RETURN(NcclLibrary library, NcclLibrary::Load(options.library));
  std::unique_ptr<NcclCommunicator> communicator(
      new NcclCommunicator(options, stream, std::move(library)));
  const std::stop_callback abort_on_stop(stop, [&] { communicator->Abort(); });
  const Status formed = communicator->Form(store, stop);
  if (stop.stop_requested()) return Aborted("forming the group was aborted");
  LONGHAND_RETURN_IF_ERROR(
      formed.WithContext("forming a group of " + std::to_string(options.size)));
  communicator->thread_.Detach();
  return communicator;
}

NcclCommunicator::NcclCommunicator(const NcclOptions& options,
                                   DeviceStream& stream,
                                   NcclLibrary library)
    : options_(options),
      stream_(stream),
      library_(std::move(library)),
      nccl_(library_.api()),
      aborter_([this](const std::stop_token& done) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return abort_requested_ || done.stop_requested(); });
        nccl::Comm* comm = std::exchange(comm_, nullptr);
        lock.unlock();
        if (comm == nullptr) return;
        (void)stream_.UseOnThread();  // Where that fails, the device has.
        nccl_.CommAbort(comm);
      }) {}

NcclCommunicator::~NcclCommunicator() {
  {
    std::lock_guard lock(mutex_);
    aborter_.request_stop();
  }
  changed_.notify_all();
  aborter_.join();
}

Result<nccl::UniqueId> NcclCommunicator::ExchangeId(KeyValueStore& store,
                                                    const std::stop_token& stop) {
  nccl::UniqueId id;
  if (options_.rank == 0) {
    LONGHAND_RETURN_IF_ERROR(library_.ToStatus("unique id", nccl_.GetUniqueId(&id), nullptr));
    LONGHAND_RETURN_IF_ERROR(store.Set(IdKey(options_), {id.bytes, sizeof(id.bytes)}));
    return id;
  }
  LONGHAND_ASSIGN_OR_RETURN(const std::string bytes,
                            store.Get(IdKey(options_), options_.timeout, stop));
  if (bytes.size() != sizeof(id.bytes)) {
    return Unavailable("a unique id has ", bytes.size(), " bytes; it must have ", sizeof(id.bytes));
  }
  std::memcpy(id.bytes, bytes.data(), sizeof(id.bytes));
  return id;
}

Status NcclCommunicator::Form(KeyValueStore& store, const std::stop_token& stop) {
  const SteadyTime deadline = steady_clock::now() + options_.timeout;
  LONGHAND_ASSIGN_OR_RETURN(scratch_, stream_.Allocate(options_.scratch_bytes));
  LONGHAND_ASSIGN_OR_RETURN(const nccl::UniqueId id, ExchangeId(store, stop));
  nccl::Config config;
  config.blocking = 0;
  {
    std::lock_guard lock(mutex_);
    if (abort_requested_) return Aborted("the communicator was aborted");
    const nccl::Result result =
        nccl_.CommInitRankConfig(&comm_, options_.size, id, options_.rank, &config);
    LONGHAND_RETURN_IF_ERROR(library_.ToStatus("init", result, comm_));
  }
  LONGHAND_RETURN_IF_ERROR(WaitUntilEnqueued("init", deadline));
  // Connections are made by the first collective: better now than in the first step.
  return Barrier();
}

Status NcclCommunicator::AllReduceSum(TensorView data) {
  CheckAllReduce(data);
  auto* at = static_cast<std::byte*>(data.data());
  const auto width = static_cast<int64_t>(DTypeSize(data.dtype()));
  const auto max_small = static_cast<int64_t>(
      std::min(kSmallSumBytes, options_.scratch_bytes / static_cast<size_t>(options_.size)));
  const int64_t max_share = static_cast<int64_t>(options_.scratch_bytes) / width / options_.size;
  int64_t left = data.num_elements();
  while (left * width > max_small) {
    const int64_t share = std::min(left / options_.size, max_share);
    LONGHAND_RETURN_IF_ERROR(SumPiece(at, data.dtype(), share));
    at += share * options_.size * width;
    left -= share * options_.size;
  }
  return SumSmall(at, data.dtype(), left);
}

Status NcclCommunicator::SumSmall(std::byte* data, DType dtype, int64_t count) {
  LONGHAND_RETURN_IF_ERROR(
      GatherBytes(data, scratch_->data(), static_cast<size_t>(count) * DTypeSize(dtype)));
  if (count == 0) return OkStatus();
  return stream_.Sum(scratch_->data(), options_.size, dtype, count, data);
}

// `share` elements for each rank.
Status NcclCommunicator::SumPiece(std::byte* data, DType dtype, int64_t share) {
  const size_t bytes = static_cast<size_t>(share) * DTypeSize(dtype);
  const auto at = [&](std::byte* base, int r) { return base + static_cast<size_t>(r) * bytes; };
  LONGHAND_RETURN_IF_ERROR(Enqueue("exchange", [&](nccl::Comm* comm) {
    nccl::Result failed = nccl_.GroupStart();
    const auto call = [&failed](nccl::Result result) {
      if (failed == nccl::kSuccess && result != nccl::kInProgress) failed = result;
    };
    for (int r = 0; r < options_.size; ++r) {
      call(nccl_.Send(at(data, r), bytes, nccl::kUint8, r, comm, stream_.handle()));
      call(nccl_.Recv(at(scratch_->data(), r), bytes, nccl::kUint8, r, comm, stream_.handle()));
    }
    // A group that was started must be ended, whatever became of its calls.
    const nccl::Result end = nccl_.GroupEnd();
    return failed == nccl::kSuccess ? end : failed;
  }));
  std::byte* mine = at(data, options_.rank);
  LONGHAND_RETURN_IF_ERROR(stream_.Sum(scratch_->data(), options_.size, dtype, share, mine));
  return GatherBytes(mine, data, bytes);
}

Status NcclCommunicator::AllGather(TensorView local, TensorView all) {
  CheckAllGather(local, all, options_.size);
  return GatherBytes(local.data(), all.data(), local.num_bytes());
}

Status NcclCommunicator::GatherBytes(const void* local, void* all, size_t bytes) {
  return Enqueue("all-gather", [&](nccl::Comm* comm) {
    return nccl_.AllGather(local, all, bytes, nccl::kUint8, comm, stream_.handle());
  });
}

Status NcclCommunicator::Broadcast(TensorView data, int root) {
  CheckRoot(root, options_.size);
  return Enqueue("broadcast", [&](nccl::Comm* comm) {
    return nccl_.Broadcast(data.data(), data.data(), data.num_bytes(), nccl::kUint8, root, comm,
                           stream_.handle());
  });
}

Status NcclCommunicator::Barrier() {
  LONGHAND_RETURN_IF_ERROR(
      GatherBytes(scratch_->data() + options_.size, scratch_->data(), /*bytes=*/1));
  return Synchronize();
}

Status NcclCommunicator::Synchronize() {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  const Status marked = stream_.Mark();
  if (!marked.ok()) return Fail(marked);
  return WaitForMark(steady_clock::now() + options_.timeout);
}

template <typename Call>
Status NcclCommunicator::Enqueue(const char* what, Call call) {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  Status called;
  {
    std::lock_guard lock(mutex_);
    called = comm_ == nullptr ? Aborted("the communicator was aborted")
                              : library_.ToStatus(what, call(comm_), comm_);
  }
  if (!called.ok()) return Fail(called);
  return WaitUntilEnqueued(what, steady_clock::now() + options_.timeout);
}

Result<nccl::Result> NcclCommunicator::Poll(const char* what) {
  std::lock_guard lock(mutex_);
  if (comm_ == nullptr || abort_requested_) return Aborted("the communicator was aborted");
  nccl::Result state = nccl::kSuccess;
  LONGHAND_RETURN_IF_ERROR(library_.ToStatus(what, nccl_.CommGetAsyncError(comm_, &state), comm_));
  LONGHAND_RETURN_IF_ERROR(library_.ToStatus(what, state, comm_));
  return state;
}

Status NcclCommunicator::WaitUntilEnqueued(const char* what, SteadyTime deadline) {
  for (;; Pause()) {
    const Result<nccl::Result> state = Poll(what);
    if (!state.ok()) return Fail(state.status());
    if (*state == nccl::kSuccess) return OkStatus();
    if (steady_clock::now() >= deadline) {
      return Fail(DeadlineExceeded("a peer did not come to NCCL's ", what, " within ",
                                   options_.timeout.count(), " ms"));
    }
  }
}

Status NcclCommunicator::WaitForMark(SteadyTime deadline) {
  for (int look = 1;; ++look) {
    const Result<bool> reached = stream_.Reached();
    if (!reached.ok()) return Fail(reached.status());
    if (*reached || look % (options_.spin ? kLooksPerPoll : 1) == 0) {
      LONGHAND_ASSIGN_OR_RETURN(const bool done, Look(*reached, deadline));
      if (done) return OkStatus();
    }
    Pause();
  }
}

Result<bool> NcclCommunicator::Look(bool reached, SteadyTime deadline) {
  // An abort, or a peer's end, lets the stream run on over garbage: so this is asked last.
  const Result<nccl::Result> state = Poll("synchronize");
  if (!state.ok()) return Fail(state.status());
  if (!reached && steady_clock::now() >= deadline) {
    return Fail(DeadlineExceeded("the device, or a peer, did not come to an end within ",
                                 options_.timeout.count(), " ms"));
  }
  return reached;
}

Result<bool> NcclCommunicator::HasDone(const Reached& reached, TimePoint since) {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  const Result<bool> is_reached = reached();
  if (!is_reached.ok()) return Fail(is_reached.status());
  if (!*is_reached && options_.spin && ++num_looks_ % kLooksPerPoll != 0) return false;
  return Look(*is_reached, since + options_.timeout);
}

void NcclCommunicator::Pause() const {
  if (options_.spin) return std::this_thread::yield();
  std::this_thread::sleep_for(kPause);
}

Status NcclCommunicator::Fail(Status status) {
  failure_ = std::move(status);
  Abort();
  return failure_;
}

void NcclCommunicator::Abort() {
  {
    std::lock_guard lock(mutex_);
    abort_requested_ = true;
  }
  changed_.notify_all();
}

}  // namespace longhand::comm
