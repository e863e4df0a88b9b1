#include "worker/comm/gloo_communicator.h"

#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <utility>

#include "worker/comm/collective_checks.h"
#include "worker/comm/rank_order_sum.h"

namespace longhand::comm {
namespace {

// Up to here, all operands together, a rank sends its whole operand to each peer: one round trip
// instead of two (bench/comm_bench).
constexpr size_t kSmallSumBytes = 128 << 10;

// What ranks tell each other once connected: a stranger on a port, or a rank of another group, is
// found here.
struct Greeting {
  uint64_t magic = 0x6f6f6c67'676e6f6cu;
  uint64_t group = 0;
  int64_t epoch = 0;
  int32_t rank = 0;
  int32_t size = 0;

  friend bool operator==(const Greeting&, const Greeting&) = default;
};

// Runs what calls into Gloo, and turns what it throws into a Status.
template <typename Function>
auto CatchGloo(Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& error) {
    return Unavailable("gloo: ", error.what());
  }
}

}  // namespace

// Elements [begin, end).
struct GlooCommunicator::Range {
  int64_t begin = 0;
  int64_t end = 0;
};

Result<std::unique_ptr<GlooCommunicator>> GlooCommunicator::Connect(const GlooMeshOptions& options,
                                                                    KeyValueStore& store,
                                                                    std::stop_token stop) {
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  auto mesh = CatchGloo([&] { return GlooMesh::Connect(options, store, stop); });
  if (stop.stop_requested()) return Aborted("forming the group was aborted");
  if (!mesh.ok() && std::chrono::steady_clock::now() >= deadline) {
    return DeadlineExceeded("a peer did not come in time: ", mesh.status().message());
  }
  LONGHAND_RETURN_IF_ERROR(mesh.status());
  std::unique_ptr<GlooCommunicator> communicator(
      new GlooCommunicator(std::move(mesh).value(), options.timeout));
  const std::stop_callback abort_on_stop(stop, [&] { communicator->Abort(); });
  LONGHAND_RETURN_IF_ERROR(communicator->CheckPeers(options));
  communicator->thread_.Detach();
  return communicator;
}

GlooCommunicator::GlooCommunicator(std::shared_ptr<GlooMesh> mesh,
                                   std::chrono::milliseconds timeout)
    : mesh_(std::move(mesh)), rank_(mesh_->rank), size_(mesh_->size), timeout_(timeout) {}

GlooCommunicator::~GlooCommunicator() = default;

Status GlooCommunicator::CheckPeers(const GlooMeshOptions& options) {
  LONGHAND_RETURN_IF_ERROR(Begin());
  Greeting expected{.group = std::hash<std::string>()(options.group),
                    .epoch = options.epoch,
                    .rank = rank_,
                    .size = size_};
  const Greeting mine = expected;
  std::vector<Greeting> greetings(static_cast<size_t>(size_));
  LONGHAND_RETURN_IF_ERROR(
      GatherBytes(&mine, reinterpret_cast<std::byte*>(greetings.data()), sizeof(mine)));
  for (int r = 0; r < size_; ++r) {
    expected.rank = r;
    if (greetings[static_cast<size_t>(r)] != expected) {
      return Fail(FailedPrecondition("who answers for rank ", r, " belongs to another group"));
    }
  }
  return OkStatus();
}

Status GlooCommunicator::AllReduceSum(TensorView data) {
  CheckAllReduce(data);
  LONGHAND_RETURN_IF_ERROR(Begin());
  if (data.num_bytes() == 0) return OkStatus();
  const bool small = data.num_bytes() * static_cast<size_t>(size_) <= kSmallSumBytes;
  return small ? SumSmall(data) : SumLarge(data);
}

Status GlooCommunicator::AllGather(TensorView local, TensorView all) {
  CheckAllGather(local, all, size_);
  LONGHAND_RETURN_IF_ERROR(Begin());
  if (local.num_bytes() == 0) return OkStatus();
  return GatherBytes(local.data(), static_cast<std::byte*>(all.data()), local.num_bytes());
}

Status GlooCommunicator::Broadcast(TensorView data, int root) {
  CheckRoot(root, size_);
  LONGHAND_RETURN_IF_ERROR(Begin());
  if (data.num_bytes() == 0) return OkStatus();
  if (rank_ != root) {
    const Transfer receive{root, data.data(), data.num_bytes()};
    return Exchange({}, {&receive, 1});
  }
  std::vector<Transfer> sends;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) sends.push_back({peer, data.data(), data.num_bytes()});
  }
  return Exchange(sends, {});
}

Status GlooCommunicator::Barrier() {
  LONGHAND_RETURN_IF_ERROR(Begin());
  const std::byte mine{1};
  scratch_.resize(std::max(scratch_.size(), static_cast<size_t>(size_)));
  return GatherBytes(&mine, scratch_.data(), 1);
}

Status GlooCommunicator::Begin() {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  if (aborted()) return Fail(Aborted("the communicator was aborted"));
  deadline_ = std::chrono::steady_clock::now() + timeout_;
  return OkStatus();
}

Status GlooCommunicator::SumSmall(TensorView data) {
  const size_t bytes = data.num_bytes();
  scratch_.resize(std::max(scratch_.size(), bytes * static_cast<size_t>(size_)));
  LONGHAND_RETURN_IF_ERROR(GatherBytes(data.data(), scratch_.data(), bytes));
  std::vector<const void*> operands;
  for (int r = 0; r < size_; ++r) {
    operands.push_back(scratch_.data() + static_cast<size_t>(r) * bytes);
  }
  SumInRankOrder(operands, data.dtype(), data.num_elements(), data.data());
  return OkStatus();
}

GlooCommunicator::Range GlooCommunicator::ShareOf(int rank, const TensorView& data) const {
  return {data.num_elements() * rank / size_, data.num_elements() * (rank + 1) / size_};
}

Status GlooCommunicator::SumLarge(TensorView data) {
  const size_t element = DTypeSize(data.dtype());
  std::byte* const bytes = static_cast<std::byte*>(data.data());
  const auto transfer_of = [&](int share_of, int peer) {
    const Range share = ShareOf(share_of, data);
    return Transfer{peer, bytes + static_cast<size_t>(share.begin) * element,
                    static_cast<size_t>(share.end - share.begin) * element};
  };
  const size_t my_bytes = transfer_of(rank_, rank_).bytes;
  scratch_.resize(std::max(scratch_.size(), my_bytes * static_cast<size_t>(size_)));

  std::vector<Transfer> their_shares;
  std::vector<Transfer> my_operands;
  std::vector<Transfer> my_sums;
  std::vector<const void*> operands;
  for (int r = 0; r < size_; ++r) {
    std::byte* operand = scratch_.data() + static_cast<size_t>(r) * my_bytes;
    operands.push_back(r == rank_ ? transfer_of(rank_, rank_).data : operand);
    if (r == rank_) continue;
    their_shares.push_back(transfer_of(r, r));
    my_operands.push_back({r, operand, my_bytes});
    my_sums.push_back(transfer_of(rank_, r));
  }
  LONGHAND_RETURN_IF_ERROR(Exchange(their_shares, my_operands));
  const Range mine = ShareOf(rank_, data);
  SumInRankOrder(operands, data.dtype(), mine.end - mine.begin, transfer_of(rank_, rank_).data);
  // The shares that were sent away come back summed.
  return Exchange(my_sums, their_shares);
}

Status GlooCommunicator::GatherBytes(const void* local, std::byte* all, size_t bytes) {
  std::vector<Transfer> sends;
  std::vector<Transfer> receives;
  std::byte* my_row = all + static_cast<size_t>(rank_) * bytes;
  // memmove: a caller may gather in place.
  std::memmove(my_row, local, bytes);
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    sends.push_back({r, my_row, bytes});
    receives.push_back({r, all + static_cast<size_t>(r) * bytes, bytes});
  }
  return Exchange(sends, receives);
}

Status GlooCommunicator::Exchange(std::span<const Transfer> sends,
                                  std::span<const Transfer> receives) {
  Status status = CatchGloo([&] { return TryExchange(sends, receives); });
  if (!status.ok()) {
    // What gloo threw is only a consequence of these.
    if (aborted()) {
      status = Aborted("the communicator was aborted");
    } else if (TimeLeft().count() == 0) {
      status = DeadlineExceeded("a peer did not arrive within ", timeout_.count(), " ms");
    }
    status = Fail(std::move(status));
  }
  ClearPending();
  return status;
}

Status GlooCommunicator::TryExchange(std::span<const Transfer> sends,
                                     std::span<const Transfer> receives) {
  if (!SetPending(sends, receives)) return Aborted("the communicator was aborted");
  ++exchange_;
  for (size_t i = 0; i < receives.size(); ++i) pending_[i]->recv(receives[i].peer, exchange_);
  for (size_t i = 0; i < sends.size(); ++i) {
    pending_[receives.size() + i]->send(sends[i].peer, exchange_);
  }
  for (size_t i = 0; i < pending_.size(); ++i) {
    const bool done =
        i < receives.size() ? pending_[i]->waitRecv(TimeLeft()) : pending_[i]->waitSend(TimeLeft());
    if (!done) return Aborted("the communicator was aborted");
  }
  return OkStatus();
}

bool GlooCommunicator::SetPending(std::span<const Transfer> sends,
                                  std::span<const Transfer> receives) {
  std::lock_guard lock(mutex_);
  if (aborted_) return false;
  for (const std::span<const Transfer> transfers : {receives, sends}) {
    for (const Transfer& transfer : transfers) {
      pending_.push_back(mesh_->createUnboundBuffer(transfer.data, transfer.bytes));
    }
  }
  return true;
}

void GlooCommunicator::ClearPending() {
  std::lock_guard lock(mutex_);
  pending_.clear();
}

std::chrono::milliseconds GlooCommunicator::TimeLeft() const {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

void GlooCommunicator::Abort() {
  std::lock_guard lock(mutex_);
  aborted_ = true;
  for (const auto& buffer : pending_) {
    buffer->abortWaitRecv();
    buffer->abortWaitSend();
  }
}

bool GlooCommunicator::aborted() {
  std::lock_guard lock(mutex_);
  return aborted_;
}

// Peers wait for this rank in vain from now on: closing lets them know.
Status GlooCommunicator::Fail(Status status) {
  failure_ = status;
  const Status closed = CatchGloo([&]() -> Status {
    mesh_->CloseAll();
    return OkStatus();
  });
  return closed.ok() ? status : status.WithContext(closed.message());
}

}  // namespace longhand::comm
