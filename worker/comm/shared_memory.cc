#include "worker/comm/shared_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "worker/comm/collective_checks.h"
#include "worker/comm/rank_order_sum.h"

namespace longhand::comm {
namespace {

// Up to here, all operands together, every rank sums all slots itself: one wait instead of two
// (bench/comm_bench).
constexpr size_t kSmallSumBytes = 128 << 10;
// Shares begin at cache lines, so that no two ranks write one.
constexpr size_t kShareAlignment = 64;

constexpr uint32_t Ready(uint32_t chunk) { return 2 * chunk + 1; }
constexpr uint32_t Done(uint32_t chunk) { return 2 * chunk + 2; }
constexpr int Parity(uint32_t chunk) { return static_cast<int>(chunk % 2); }

static_assert(Done(kFirstEvent / 2 - 1) == kFirstEvent, "the first chunk is the one at hand");

}  // namespace

// A part of the caller's data that fits a slot.
struct SharedMemoryCommunicator::Chunk {
  std::byte* data = nullptr;
  size_t bytes = 0;
  DType dtype = DType::kF32;
};

// Bytes [begin, end) of a chunk.
struct SharedMemoryCommunicator::Range {
  size_t begin = 0;
  size_t end = 0;
};

SharedMemoryCommunicator::SharedMemoryCommunicator(std::shared_ptr<SharedSegment> segment,
                                                   int rank,
                                                   const Options& options)
    : segment_(std::move(segment)),
      rank_(rank),
      size_(segment_->shape().num_ranks),
      options_(options),
      signals_(*segment_, rank, options.spin) {
  LONGHAND_CHECK(rank >= 0 && rank < size_) << "rank " << rank << " of " << size_;
}

SharedMemoryCommunicator::~SharedMemoryCommunicator() { signals_.Leave(); }

Status SharedMemoryCommunicator::AllReduceSum(TensorView data) {
  CheckAllReduce(data);
  LONGHAND_RETURN_IF_ERROR(Begin(Call::kSum, data.num_bytes(), /*root=*/0));
  if (size_ == 1 || data.num_bytes() == 0) return OkStatus();
  std::byte* bytes = static_cast<std::byte*>(data.data());
  const bool small = data.num_bytes() * static_cast<size_t>(size_) <= kSmallSumBytes &&
                     data.num_bytes() <= segment_->shape().chunk_bytes;
  return Finish(small ? SumSmall(bytes, data.dtype(), data.num_elements())
                      : SumLarge(bytes, data.dtype(), data.num_elements()));
}

Status SharedMemoryCommunicator::AllGather(TensorView local, TensorView all) {
  CheckAllGather(local, all, size_);
  LONGHAND_RETURN_IF_ERROR(Begin(Call::kGather, local.num_bytes(), /*root=*/0));
  return Finish(Gather(static_cast<const std::byte*>(local.data()),
                       static_cast<std::byte*>(all.data()), local.num_bytes()));
}

Status SharedMemoryCommunicator::Broadcast(TensorView data, int root) {
  CheckRoot(root, size_);
  LONGHAND_RETURN_IF_ERROR(Begin(Call::kBroadcast, data.num_bytes(), root));
  std::byte* bytes = static_cast<std::byte*>(data.data());
  return Finish(rank_ == root ? Send(bytes, data.num_bytes())
                              : Receive(bytes, data.num_bytes(), root));
}

Status SharedMemoryCommunicator::Barrier() {
  LONGHAND_RETURN_IF_ERROR(Begin(Call::kBarrier, 0, /*root=*/0));
  Status status = WaitForSlot();
  if (status.ok()) {
    PublishReady();
    status = WaitUntilAllReady();
    ++chunk_;
  }
  return Finish(std::move(status));
}

Status SharedMemoryCommunicator::Begin(Call call, size_t bytes, int root) {
  thread_.Check();
  LONGHAND_RETURN_IF_ERROR(failure_);
  if (signals_.aborted()) return Finish(Aborted("the communicator was aborted"));
  signals_.set_deadline(std::chrono::steady_clock::now() + options_.timeout);
  call_ = (static_cast<uint64_t>(call) << 56) | (static_cast<uint64_t>(root) << 48) | bytes;
  return OkStatus();
}

Status SharedMemoryCommunicator::Finish(Status status) {
  if (!status.ok()) {
    failure_ = status;
    signals_.Leave();
  }
  return status;
}

Status SharedMemoryCommunicator::SumSmall(std::byte* data, DType dtype, int64_t count) {
  LONGHAND_RETURN_IF_ERROR(WaitForSlot());
  const int parity = Parity(chunk_);
  std::memcpy(segment_->slot(rank_, parity), data, static_cast<size_t>(count) * DTypeSize(dtype));
  PublishReady();
  LONGHAND_RETURN_IF_ERROR(WaitUntilAllReady());
  std::array<const void*, kMaxSharedRanks> operands;
  for (int r = 0; r < size_; ++r) operands[r] = r == rank_ ? data : segment_->slot(r, parity);
  SumInRankOrder({operands.data(), static_cast<size_t>(size_)}, dtype, count, data);
  // No Done(): the next event implies it, and nobody waits for it before that.
  ++chunk_;
  return OkStatus();
}

// The previous chunk is copied out after this one is ready: its sums have had the time of a copy to
// arrive.
Status SharedMemoryCommunicator::SumLarge(std::byte* data, DType dtype, int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * DTypeSize(dtype);
  const size_t chunk_bytes = segment_->shape().chunk_bytes;
  Chunk previous;
  for (size_t offset = 0; offset < bytes; offset += chunk_bytes) {
    const Chunk chunk{data + offset, std::min(chunk_bytes, bytes - offset), dtype};
    const Range mine = MyShare(chunk);
    LONGHAND_RETURN_IF_ERROR(WaitForSlot());
    std::byte* slot = segment_->slot(rank_, Parity(chunk_));
    std::memcpy(slot, chunk.data, mine.begin);
    std::memcpy(slot + mine.end, chunk.data + mine.end, chunk.bytes - mine.end);
    PublishReady();
    if (previous.bytes > 0) LONGHAND_RETURN_IF_ERROR(CopyOut(previous, chunk_ - 1));
    LONGHAND_RETURN_IF_ERROR(WaitUntilAllReady());
    SumMyShare(chunk);
    signals_.Publish(Done(chunk_));
    ++chunk_;
    previous = chunk;
  }
  return CopyOut(previous, chunk_ - 1);
}

SharedMemoryCommunicator::Range SharedMemoryCommunicator::MyShare(const Chunk& chunk) const {
  const size_t even = (chunk.bytes + static_cast<size_t>(size_) - 1) / static_cast<size_t>(size_);
  const size_t share = (even + kShareAlignment - 1) / kShareAlignment * kShareAlignment;
  const size_t begin = std::min(chunk.bytes, share * static_cast<size_t>(rank_));
  return {begin, std::min(chunk.bytes, begin + share)};
}

// My own operand and my own sums never leave the caller's memory; the result area is for the peers.
void SharedMemoryCommunicator::SumMyShare(const Chunk& chunk) {
  const Range mine = MyShare(chunk);
  const int parity = Parity(chunk_);
  std::array<const void*, kMaxSharedRanks> operands;
  for (int r = 0; r < size_; ++r) {
    operands[r] = (r == rank_ ? chunk.data : segment_->slot(r, parity)) + mine.begin;
  }
  const size_t bytes = mine.end - mine.begin;
  SumInRankOrder({operands.data(), static_cast<size_t>(size_)}, chunk.dtype,
                 static_cast<int64_t>(bytes / DTypeSize(chunk.dtype)), chunk.data + mine.begin);
  std::memcpy(segment_->result(parity) + mine.begin, chunk.data + mine.begin, bytes);
}

Status SharedMemoryCommunicator::CopyOut(const Chunk& chunk, uint32_t index) {
  LONGHAND_RETURN_IF_ERROR(signals_.WaitForAll(Done(index)));
  const std::byte* result = segment_->result(Parity(index));
  const Range mine = MyShare(chunk);
  std::memcpy(chunk.data, result, mine.begin);
  std::memcpy(chunk.data + mine.end, result + mine.end, chunk.bytes - mine.end);
  return OkStatus();
}

Status SharedMemoryCommunicator::Gather(const std::byte* local, std::byte* all, size_t bytes) {
  for (size_t offset = 0; offset < bytes;) {
    const size_t n = std::min(segment_->shape().chunk_bytes, bytes - offset);
    LONGHAND_RETURN_IF_ERROR(WaitForSlot());
    const int parity = Parity(chunk_);
    std::memcpy(segment_->slot(rank_, parity), local + offset, n);
    PublishReady();
    LONGHAND_RETURN_IF_ERROR(WaitUntilAllReady());
    // My own row comes from my slot too: `local` may be that row.
    for (int r = 0; r < size_; ++r) {
      std::memcpy(all + static_cast<size_t>(r) * bytes + offset, segment_->slot(r, parity), n);
    }
    ++chunk_;
    offset += n;
  }
  return OkStatus();
}

// The root runs ahead of its readers by the two slots.
Status SharedMemoryCommunicator::Send(const std::byte* data, size_t bytes) {
  for (size_t offset = 0; offset < bytes;) {
    const size_t n = std::min(segment_->shape().chunk_bytes, bytes - offset);
    LONGHAND_RETURN_IF_ERROR(WaitForSlot());
    std::memcpy(segment_->slot(rank_, Parity(chunk_)), data + offset, n);
    PublishReady();
    ++chunk_;
    offset += n;
  }
  return OkStatus();
}

Status SharedMemoryCommunicator::Receive(std::byte* data, size_t bytes, int root) {
  for (size_t offset = 0; offset < bytes;) {
    const size_t n = std::min(segment_->shape().chunk_bytes, bytes - offset);
    LONGHAND_RETURN_IF_ERROR(WaitUntilReady(root));
    std::memcpy(data + offset, segment_->slot(root, Parity(chunk_)), n);
    signals_.Publish(Done(chunk_));
    ++chunk_;
    offset += n;
  }
  return OkStatus();
}

// Until everyone is done with the chunk before the previous one, they may be reading what this rank
// wrote for it.
Status SharedMemoryCommunicator::WaitForSlot() { return signals_.WaitForAll(Done(chunk_ - 2)); }

void SharedMemoryCommunicator::PublishReady() {
  segment_->control(rank_).call[Parity(chunk_)].store(call_, std::memory_order_relaxed);
  signals_.Publish(Ready(chunk_));
}

Status SharedMemoryCommunicator::WaitUntilReady(int rank) {
  LONGHAND_RETURN_IF_ERROR(signals_.WaitFor(rank, Ready(chunk_)));
  return CheckSameCall(rank);
}

Status SharedMemoryCommunicator::WaitUntilAllReady() {
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) LONGHAND_RETURN_IF_ERROR(WaitUntilReady(peer));
  }
  return OkStatus();
}

Status SharedMemoryCommunicator::CheckSameCall(int rank) {
  const uint64_t theirs =
      segment_->control(rank).call[Parity(chunk_)].load(std::memory_order_relaxed);
  if (theirs == call_) return OkStatus();
  return Internal("ranks disagree: rank ", rank_, " called ", std::hex, call_, " and rank ", rank,
                  " called ", theirs, " (call, root, bytes)");
}

}  // namespace longhand::comm
