// What every transport must do, with ranks as threads. Sums are compared bit by bit with x0 + x1 +
// ... in f32. NCCL is its stand-in here; ranks
// on a GPU, where there is one, exchange by kernels.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/unit/worker/comm/rank_group.h"

namespace longhand::comm {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::chrono::seconds kTimeout{60};

// A float whose magnitude varies over 2^24, so that sums in another order have other bits. The same
// for all ranks that ask for the same (seed, rank, index).
float Value(uint32_t seed, int rank, int64_t index) {
  uint64_t z =
      (uint64_t{seed} << 40) ^ (static_cast<uint64_t>(rank) << 34) ^ static_cast<uint64_t>(index);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  const float mantissa = static_cast<float>(z & 0xffffff) * 0x1p-24f + 0.5f;
  const float sign = ((z >> 24) & 1) != 0 ? -1.0f : 1.0f;
  return sign * mantissa * static_cast<float>(1u << (z >> 25) % 24);
}

// `count` elements, of which element i is `value(i)`.
template <typename T, typename Value>
Bytes Fill(int64_t count, Value value) {
  Bytes bytes(static_cast<size_t>(count) * sizeof(T));
  for (int64_t i = 0; i < count; ++i) {
    const T element(value(i));
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof(T), &element, sizeof(T));
  }
  return bytes;
}

// Rank `rank`'s operand of the sum number `seed`.
Bytes Operand(DType dtype, int64_t count, uint32_t seed, int rank) {
  const auto value = [=](int64_t i) { return Value(seed, rank, i); };
  return dtype == DType::kF32 ? Fill<float>(count, value) : Fill<Bf16>(count, value);
}

template <typename T>
Bytes SumOf(int64_t count, uint32_t seed, int num_ranks) {
  return Fill<T>(count, [=](int64_t i) {
    const auto operand = [=](int rank) { return static_cast<float>(T(Value(seed, rank, i))); };
    float sum = operand(0);
    for (int rank = 1; rank < num_ranks; ++rank) sum += operand(rank);
    return sum;
  });
}

// The definition: f32, in rank order, rounded once.
Bytes Sum(DType dtype, int64_t count, uint32_t seed, int num_ranks) {
  return dtype == DType::kF32 ? SumOf<float>(count, seed, num_ranks)
                              : SumOf<Bf16>(count, seed, num_ranks);
}

Bytes Rows(DType dtype, int64_t count, uint32_t seed, int num_ranks) {
  Bytes rows;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const Bytes row = Operand(dtype, count, seed, rank);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

// What all ranks expect of a call, computed by the first of them that asks: nobody asks for the
// next call's before everybody has asked for this one's.
class Expected {
 public:
  using Make = Bytes (*)(DType dtype, int64_t count, uint32_t seed, int num_ranks);

  std::shared_ptr<const Bytes> Get(
      Make make, DType dtype, int64_t count, uint32_t seed, int num_ranks) {
    const Call call{make, dtype, count, seed, num_ranks};
    std::lock_guard lock(mutex_);
    if (bytes_ == nullptr || call != call_) {
      call_ = call;
      bytes_ = std::make_shared<const Bytes>(make(dtype, count, seed, num_ranks));
    }
    return bytes_;
  }

 private:
  using Call = std::tuple<Make, DType, int64_t, uint32_t, int>;
  std::mutex mutex_;
  Call call_;
  std::shared_ptr<const Bytes> bytes_;
};

Expected g_expected;

TensorView View(Bytes& bytes, DType dtype) {
  // Without elements there is still a place: an empty vector has none.
  static std::byte nothing{};
  void* data = bytes.empty() ? &nothing : bytes.data();
  return TensorView(data, dtype, {static_cast<int64_t>(bytes.size() / DTypeSize(dtype))});
}

// A rank that is late: other threads run meanwhile.
void Dawdle(std::mt19937& random) {
  for (uint32_t turns = random() % 64; turns > 0; --turns) std::this_thread::yield();
}

// Calls may be enqueued: their results are there when this has returned.
Status Finish(Communicator& communicator, const Status& called) {
  return called.ok() ? communicator.Synchronize() : called;
}

void ExpectSum(Communicator& communicator, DType dtype, int64_t count, uint32_t seed) {
  Bytes data = Operand(dtype, count, seed, communicator.rank());
  const Status status = Finish(communicator, communicator.AllReduceSum(View(data, dtype)));
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(data == *g_expected.Get(&Sum, dtype, count, seed, communicator.size()))
      << DTypeName(dtype) << " x " << count << " on rank " << communicator.rank();
}

void ExpectGather(Communicator& communicator, DType dtype, int64_t count, uint32_t seed) {
  // What is gathered is bytes to the communicator: f32 and bf16 operands serve for every dtype of
  // their size.
  Bytes local = Operand(dtype, count, seed, communicator.rank());
  Bytes all(local.size() * static_cast<size_t>(communicator.size()));
  const Status status =
      Finish(communicator, communicator.AllGather(View(local, dtype), View(all, dtype)));
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(all == *g_expected.Get(&Rows, dtype, count, seed, communicator.size()))
      << count << " on rank " << communicator.rank();
}

void ExpectBroadcast(
    Communicator& communicator, DType dtype, int64_t count, int root, uint32_t seed) {
  Bytes data = Operand(dtype, count, seed, communicator.rank());
  const Status status = Finish(communicator, communicator.Broadcast(View(data, dtype), root));
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(data == Operand(dtype, count, seed, root))
      << count << " from " << root << " on rank " << communicator.rank();
}

// Zero, everything small, then the neighbourhood of vector widths, blocks, and random sizes up to
// 10,000.
std::vector<int64_t> Sizes() {
  std::vector<int64_t> sizes;
  for (int64_t size = 0; size <= 70; ++size) sizes.push_back(size);
  for (int64_t size : {127, 128, 129, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 9999, 10'000}) {
    sizes.push_back(size);
  }
  std::mt19937 random(/*seed=*/41);
  for (int i = 0; i < 15; ++i) sizes.push_back(random() % 10'000);
  return sizes;
}

class Conformance : public testing::TestWithParam<GroupParam> {
 protected:
  void SetUp() override {
    if (!group_.why_not().empty()) GTEST_SKIP() << group_.why_not();
  }
  RankGroup group_{GetParam(), kTimeout};
};

TEST_P(Conformance, KnowsItsPlaceInTheGroup) {
  for (int rank = 0; rank < group_.size(); ++rank) {
    EXPECT_EQ(group_[rank].rank(), rank);
    EXPECT_EQ(group_[rank].size(), GetParam().size);
  }
}

TEST_P(Conformance, SumsInRankOrderForEverySizeAndDtype) {
  group_.Run([](Communicator& communicator) {
    uint32_t seed = 0;
    for (const int64_t size : Sizes()) {
      for (const DType dtype : {DType::kF32, DType::kBf16}) {
        ASSERT_NO_FATAL_FAILURE(ExpectSum(communicator, dtype, size, ++seed));
      }
    }
  });
}

TEST_P(Conformance, SumsLargeTensors) {
  group_.Run([](Communicator& communicator) {
    ASSERT_NO_FATAL_FAILURE(ExpectSum(communicator, DType::kF32, (1 << 19) + 37, /*seed=*/7));
    ASSERT_NO_FATAL_FAILURE(ExpectSum(communicator, DType::kBf16, (1 << 19) + 1, /*seed=*/8));
  });
}

// 2^25 is not representable next to 1 in f32: (2^25 + 1) - 2^25 is 0 while (2^25 - 2^25) + 1 is 1.
TEST_P(Conformance, TheOrderOfTheSumIsTheOrderOfRanks) {
  if (GetParam().size < 3) GTEST_SKIP() << "two operands have one order";
  group_.Run([](Communicator& communicator) {
    const float mine[] = {0x1p25f, 1.0f, -0x1p25f};
    std::vector<float> data(100, communicator.rank() < 3 ? mine[communicator.rank()] : 0.0f);
    const Status status = Finish(
        communicator, communicator.AllReduceSum(TensorView(data.data(), DType::kF32, {100})));
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(data, std::vector<float>(100, 0.0f));
  });
}

TEST_P(Conformance, NanAndInfinityPassThroughASum) {
  group_.Run([](Communicator& communicator) {
    const bool last = communicator.rank() == communicator.size() - 1;
    Bf16 data[3];
    data[0] = Bf16(last ? std::numeric_limits<float>::quiet_NaN() : 1.0f);
    data[1] = Bf16(last ? std::numeric_limits<float>::infinity() : 1.0f);
    // The largest bf16 doubled overflows; alone it stays.
    data[2] = Bf16(0x1.fep127f);
    const Status status =
        Finish(communicator, communicator.AllReduceSum(TensorView(data, DType::kBf16, {3})));
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(std::isnan(static_cast<float>(data[0])));
    EXPECT_TRUE(std::isinf(static_cast<float>(data[1])));
    EXPECT_EQ(std::isinf(static_cast<float>(data[2])), communicator.size() > 1);
  });
}

TEST_P(Conformance, GathersRowsInRankOrder) {
  group_.Run([](Communicator& communicator) {
    uint32_t seed = 0;
    for (const int64_t size : Sizes()) {
      ASSERT_NO_FATAL_FAILURE(ExpectGather(communicator, DType::kF32, size, ++seed));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectGather(communicator, DType::kBf16, (1 << 20) + 3, ++seed));
  });
}

TEST_P(Conformance, GathersInPlace) {
  group_.Run([](Communicator& communicator) {
    std::vector<int64_t> all(static_cast<size_t>(communicator.size()) * 1000, -1);
    const TensorView view(all.data(), DType::kI64, {communicator.size(), 1000});
    const TensorView mine = view.Slice(communicator.rank(), 1);
    for (int64_t i = 0; i < 1000; ++i) mine.as<int64_t>()[i] = communicator.rank() * 1000 + i;
    const Status status = Finish(communicator, communicator.AllGather(mine, view));
    ASSERT_TRUE(status.ok()) << status;
    for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<int64_t>(i));
  });
}

TEST_P(Conformance, BroadcastsFromEveryRoot) {
  group_.Run([](Communicator& communicator) {
    uint32_t seed = 0;
    for (const int64_t size : Sizes()) {
      const int root = static_cast<int>(seed) % communicator.size();
      ASSERT_NO_FATAL_FAILURE(ExpectBroadcast(communicator, DType::kBf16, size, root, ++seed));
    }
    ASSERT_NO_FATAL_FAILURE(
        ExpectBroadcast(communicator, DType::kF32, (1 << 20) + 3, communicator.size() - 1, ++seed));
  });
}

// Nobody is past the barrier while somebody has not reached it.
TEST_P(Conformance, ABarrierHoldsEveryoneBack) {
  std::atomic<int> arrived{0};
  group_.Run([&](Communicator& communicator) {
    std::mt19937 random(static_cast<uint32_t>(communicator.rank()));
    for (int round = 1; round <= 100; ++round) {
      Dawdle(random);
      ++arrived;
      const Status status = communicator.Barrier();
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_GE(arrived.load(), round * communicator.size());
    }
  });
}

// The order of arrival differs from call to call, and no call may take data of another.
TEST_P(Conformance, RandomSequencesOfCallsKeepApart) {
  constexpr uint32_t kSeed = 2026;
  group_.Run([](Communicator& communicator) {
    std::mt19937 plan(kSeed);  // The same on all ranks.
    std::mt19937 pauses(kSeed + 1 + static_cast<uint32_t>(communicator.rank()));
    for (uint32_t call = 0; call < 250; ++call) {
      const DType dtype = plan() % 2 == 0 ? DType::kF32 : DType::kBf16;
      const int64_t size = plan() % 8 == 0 ? plan() % 60'000 : plan() % 600;
      const int root = static_cast<int>(plan() % static_cast<uint32_t>(communicator.size()));
      const uint32_t kind = plan() % 4;
      Dawdle(pauses);
      if (kind == 0) {
        ASSERT_NO_FATAL_FAILURE(ExpectSum(communicator, dtype, size, call));
      } else if (kind == 1) {
        ASSERT_NO_FATAL_FAILURE(ExpectGather(communicator, dtype, size, call));
      } else if (kind == 2) {
        ASSERT_NO_FATAL_FAILURE(ExpectBroadcast(communicator, dtype, size, root, call));
      } else {
        const Status status = communicator.Barrier();
        ASSERT_TRUE(status.ok()) << status;
      }
    }
  });
}

std::vector<GroupParam> Groups() {
  std::vector<GroupParam> groups = {{TestTransport::kSingle, 1},
                                    {TestTransport::kNamedSharedMemory, 2},
                                    {TestTransport::kNamedSharedMemory, 4}};
  for (const int size : {1, 2, 3, 4, 8}) groups.push_back({TestTransport::kSharedMemory, size});
  for (const int size : {2, 3, 8}) groups.push_back({TestTransport::kSharedMemoryChunks, size});
  for (const int size : {2, 3, 4}) groups.push_back({TestTransport::kGloo, size});
  for (const int size : {2, 3, 4}) groups.push_back({TestTransport::kNccl, size});
  groups.push_back({TestTransport::kNcclPieces, 3});
  if (!kHasEmulatedDevices) return groups;
  for (const int size : {2, 3, 4}) groups.push_back({TestTransport::kPeers, size});
  groups.push_back({TestTransport::kPeersShuffled, 3});
  groups.push_back({TestTransport::kPeersCopied, 2});
  for (const int size : {2, 4}) groups.push_back({TestTransport::kCudaPeers, size});
  return groups;
}

INSTANTIATE_TEST_SUITE_P(Transports,
                         Conformance,
                         testing::ValuesIn(Groups()),
                         [](const auto& info) { return GroupName(info.param); });

// 32 MB: the embeddings of 2048 tokens of the 7B model.
class LargeConformance : public testing::TestWithParam<GroupParam> {};

TEST_P(LargeConformance, SumsThirtyTwoMegabytes) {
  RankGroup group(GetParam(), kTimeout);
  group.Run([](Communicator& communicator) {
    ASSERT_NO_FATAL_FAILURE(ExpectSum(communicator, DType::kF32, 8 << 20, /*seed=*/11));
  });
}

INSTANTIATE_TEST_SUITE_P(Transports,
                         LargeConformance,
                         testing::Values(GroupParam{TestTransport::kSharedMemory, 2},
                                         GroupParam{TestTransport::kNamedSharedMemory, 4},
                                         GroupParam{TestTransport::kGloo, 2},
                                         GroupParam{TestTransport::kNccl, 2}),
                         [](const auto& info) { return GroupName(info.param); });

}  // namespace
}  // namespace longhand::comm
