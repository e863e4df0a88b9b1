// PeerCommunicator: what goes beyond a transport's conformance. Devices are emulated, ranks are
// threads.
#include "worker/comm/peer_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/worker/comm/forwarding_peer_device.h"
#include "tests/unit/worker/comm/paced_device.h"
#include "tests/unit/worker/comm/rank_group.h"

namespace longhand::comm {
namespace {

constexpr std::chrono::hours kNever{1};
constexpr std::chrono::seconds kTimeout{60};
constexpr std::chrono::milliseconds kSoon{100};

// Memory of an emulated device is the host's.
struct Tensor {
  Tensor(DType type, int64_t rows, int64_t width)
      : bytes(static_cast<size_t>(rows * width) * DTypeSize(type)),
        view(bytes.data(), type, {rows, width}) {}
  Tensor(const Tensor&) = delete;

  void Fill(uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < view.num_elements(); ++i) {
      if (view.dtype() == DType::kF32) {
        view.as<float>()[i] = normal(random);
      } else {
        view.as<Bf16>()[i] = Bf16(normal(random));
      }
    }
  }

  std::vector<std::byte> bytes;
  TensorView view;
};

struct Shape {
  DType dtype;
  int64_t rows, width;
};

class PeerSumNorm : public testing::TestWithParam<GroupParam> {};

// One shot and two, rows that are aligned and that are not, more rows than blocks.
TEST_P(PeerSumNorm, HasTheBitsOfASumAndThenANorm) {
  RankGroup group(GetParam(), kTimeout);
  group.Run([&](Communicator& communicator) {
    kernels::CudaOps& ops = group.ops(communicator.rank());
    uint32_t seed = 0;
    for (const Shape& shape :
         {Shape{DType::kF32, 1, 64}, Shape{DType::kBf16, 1, 8192}, Shape{DType::kBf16, 3, 100},
          Shape{DType::kF32, 37, 33}, Shape{DType::kBf16, 64, 1024}, Shape{DType::kF32, 40, 2056},
          Shape{DType::kBf16, 90, 3000}}) {
      seed += 100;
      const int64_t rows = shape.rows, width = shape.width;
      Tensor fused(shape.dtype, rows, width), apart(shape.dtype, rows, width);
      Tensor residual(shape.dtype, rows, width), expected_residual(shape.dtype, rows, width);
      Tensor out(shape.dtype, rows, width), expected(shape.dtype, rows, width);
      Tensor weight(DType::kF32, 1, width);
      fused.Fill(seed + static_cast<uint32_t>(communicator.rank()));
      apart.bytes = fused.bytes;
      apart.view = TensorView(apart.bytes.data(), shape.dtype, {rows, width});
      residual.Fill(seed + 50);
      expected_residual.Fill(seed + 50);
      weight.Fill(seed + 51);
      const TensorView weights(weight.bytes.data(), DType::kF32, {width});
      ASSERT_TRUE(communicator.FusesNorm(fused.view)) << fused.view.ToString();
      Status status = communicator.AllReduceSumNorm({.data = fused.view,
                                                     .residual = residual.view,
                                                     .weight = weights,
                                                     .eps = 1e-6f,
                                                     .out = out.view});
      ASSERT_TRUE(status.ok()) << status;
      status = communicator.AllReduceSum(apart.view);
      ASSERT_TRUE(status.ok()) << status;
      status = ops.RmsNorm({.x = apart.view,
                            .residual = expected_residual.view,
                            .weight = weights,
                            .eps = 1e-6f,
                            .out = expected.view});
      ASSERT_TRUE(status.ok()) << status;
      status = communicator.Synchronize();
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_TRUE(residual.bytes == expected_residual.bytes) << fused.view.ToString();
      EXPECT_TRUE(out.bytes == expected.bytes) << fused.view.ToString();

      // And rounded, as weights in fp8 take it.
      const DType rounded = ops.RoundedDType(shape.dtype);
      Tensor codes(rounded, rows, width), expected_codes(rounded, rows, width);
      Tensor row_scale(DType::kF32, 1, rows), expected_scale(DType::kF32, 1, rows);
      const TensorView scales(row_scale.bytes.data(), DType::kF32, {rows});
      fused.Fill(seed + static_cast<uint32_t>(communicator.rank()));
      residual.Fill(seed + 50);
      status = communicator.AllReduceSumNorm({.data = fused.view,
                                              .residual = residual.view,
                                              .weight = weights,
                                              .eps = 1e-6f,
                                              .out = codes.view,
                                              .scale = scales});
      ASSERT_TRUE(status.ok()) << status;
      const TensorView expected_scales(expected_scale.bytes.data(), DType::kF32, {rows});
      status = ops.QuantizeRows({expected.view, expected_codes.view, expected_scales});
      ASSERT_TRUE(status.ok()) << status;
      status = communicator.Synchronize();
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_TRUE(codes.bytes == expected_codes.bytes) << fused.view.ToString();
      EXPECT_TRUE(row_scale.bytes == expected_scale.bytes) << fused.view.ToString();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks,
                         PeerSumNorm,
                         testing::Values(GroupParam{TestTransport::kPeers, 2},
                                         GroupParam{TestTransport::kPeers, 4},
                                         GroupParam{TestTransport::kPeersShuffled, 3}),
                         [](const auto& info) { return GroupName(info.param); });

TEST(PeerCommunicator, APeerThatDoesNotComeIsADeadlineExceededAndAllLaterCallsFailAlike) {
  RankGroup group({TestTransport::kPeers, 2}, kSoon);
  std::vector<float> data(5000, 1.0f);
  const TensorView view(data.data(), DType::kF32, {5000});
  ASSERT_TRUE(group[0].AllReduceSum(view).ok());
  EXPECT_EQ(group[0].Synchronize().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(group[0].AllReduceSum(view).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(group[0].Synchronize().code(), StatusCode::kDeadlineExceeded);
}

TEST(PeerCommunicator, AbortEndsAKernelThatWaits) {
  for (int delay = 0; delay < 6; ++delay) {
    RankGroup group({TestTransport::kPeers, 2}, kNever);
    std::atomic<bool> called{false};
    Status ended;
    std::jthread rank([&] {
      std::vector<float> data(5000, 1.0f);
      called = true;
      ended = group[0].AllReduceSum(TensorView(data.data(), DType::kF32, {5000}));
      if (ended.ok()) ended = group[0].Synchronize();
    });
    while (!called) std::this_thread::yield();
    for (int turn = 0; turn < (1 << delay); ++turn) std::this_thread::yield();
    group[0].Abort();
    rank.join();
    EXPECT_EQ(ended.code(), StatusCode::kAborted) << ended;
  }
}

// A flag that goes astray: nobody may go on as if the peer had come.
TEST(PeerCommunicator, AMissingFlagIsFound) {
  std::vector<std::unique_ptr<kernels::CudaOps>> ops;
  std::vector<std::unique_ptr<PeerMemory>> memory;
  std::vector<std::shared_ptr<PeerControl>> controls;
  PeerGroup groups[2];
  for (int r = 0; r < 2; ++r) {
    auto opened = kernels::CreateEmulatedOps();
    ASSERT_TRUE(opened.ok()) << opened.status();
    ops.push_back(std::move(opened).value());
    groups[r] = ops.back()->MakePeerGroup();
    auto own = ops.back()->AllocatePeerMemory(static_cast<size_t>(groups[r].memory_bytes()));
    auto control = ops.back()->AllocatePeerControl();
    ASSERT_TRUE(own.ok() && control.ok());
    memory.push_back(std::move(own).value());
    controls.push_back(std::move(control).value());
  }
  std::vector<std::byte> astray(static_cast<size_t>(groups[0].memory_bytes()));
  for (int r = 0; r < 2; ++r) {
    groups[r].rank = r;
    groups[r].size = 2;
    groups[r].timeout_ns = 100'000'000;
    groups[r].control = controls[static_cast<size_t>(r)].get();
    for (int p = 0; p < 2; ++p) groups[r].memory[p] = memory[static_cast<size_t>(p)]->data();
  }
  groups[0].memory[1] = astray.data();
  {
    std::vector<std::jthread> threads;
    for (size_t r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        std::vector<float> data(100, 1.0f);
        const TensorView view(data.data(), DType::kF32, {100});
        EXPECT_TRUE(ops[r]->PeerReduce({.group = &groups[r], .data = view}).ok());
      });
    }
  }
  EXPECT_EQ(controls[0]->timed_out, 0u);
  EXPECT_EQ(controls[1]->timed_out, 1u);
}

class Blind final : public ForwardingPeerDevice {
 public:
  using ForwardingPeerDevice::ForwardingPeerDevice;
  Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string&) override {
    return Unavailable("no way to it");
  }
};
class Full final : public ForwardingPeerDevice {
 public:
  using ForwardingPeerDevice::ForwardingPeerDevice;
  Result<std::shared_ptr<PeerControl>> AllocatePeerControl() override {
    return Unavailable("no page-locked memory");
  }
};

// A group of two of which rank 1 alone has such a device: both take the other communicator, at
// once, and say `reason`.
template <typename Device>
void ExpectTheOtherCommunicator(const std::string& reason) {
  RankGroup inner({TestTransport::kNamedSharedMemory, 2}, kTimeout);
  InMemoryStore store;
  std::string lines[2];
  std::vector<std::jthread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      auto ops = kernels::CreateEmulatedOps();
      ASSERT_TRUE(ops.ok());
      Device other(**ops);
      PeerDevice& device = r == 1 ? static_cast<PeerDevice&>(other) : **ops;
      auto communicator = PeerCommunicator::Connect(
          {.group = "test",
           .timeout = kNever,
           .log = [&lines, r](const std::string& line) { lines[r] += line; }},
          inner.Take(static_cast<int>(r)), device, store, {});
      ASSERT_TRUE(communicator.ok()) << communicator.status();
      std::vector<float> data(10, 1.0f);
      EXPECT_TRUE((*communicator)->AllReduceSum(TensorView(data.data(), DType::kF32, {10})).ok());
      EXPECT_EQ(data, std::vector<float>(10, 2.0f));
      EXPECT_FALSE((*communicator)->CanBeRecorded(4));
    });
  }
  threads.clear();
  for (const std::string& line : lines) {
    EXPECT_EQ(line, "ranks exchange without kernels of their own: " + reason);
  }
}

// What a group of another host, or a device that cannot read its peers, falls back to.
TEST(PeerCommunicator, WhereMemoryCannotBeReadTheOtherCommunicatorIsTaken) {
  ExpectTheOtherCommunicator<Blind>("rank 1: no way to it");
}

TEST(PeerCommunicator, NobodyWaitsForMemoryThatARankHasNoneOf) {
  ExpectTheOtherCommunicator<Full>("rank 1: no page-locked memory");
}

// The peers of each may read what this rank shared until they form the next.
TEST(PeerCommunicator, OfFormsThatFailTheMemoryOfOneIsKept) {
  const auto ops = kernels::CreateEmulatedOps().value();
  const int64_t bytes = ops->MakePeerGroup().memory_bytes();
  std::stop_source stop;
  stop.request_stop();
  for (int64_t epoch = 1; epoch <= 3; ++epoch) {
    RankGroup inner({TestTransport::kNamedSharedMemory, 2}, kTimeout);
    InMemoryStore store;
    const Status formed = PeerCommunicator::Connect({.group = "test", .epoch = epoch},
                                                    inner.Take(0), *ops, store, stop.get_token())
                              .status();
    EXPECT_EQ(formed.code(), StatusCode::kAborted) << formed;
    EXPECT_EQ(ops->device_memory().now, bytes);
  }
}

// Rank 1 would choose otherwise; sums that meet must go one way.
TEST(PeerCommunicator, AllRanksGoAsRankZeroMeasured) {
  InMemoryStore store;
  std::string lines[2];
  std::vector<std::jthread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      auto ops = kernels::CreateEmulatedOps();
      ASSERT_TRUE(ops.ok());
      ManualClock clock;
      PacedDevice device(**ops, clock);
      device.cost = [r](const PeerReduceArgs& args) {
        return std::chrono::microseconds(args.two_shot == (r == 0) ? 20 : 10);
      };
      auto inner = std::make_unique<PacedCommunicator>(static_cast<int>(r), 2, clock);
      inner->cost = [](size_t) { return std::chrono::microseconds(50); };
      auto communicator = PeerCommunicator::Connect(
          {.group = "test",
           .timeout = kTimeout,
           .log = [&lines, r](const std::string& line) { lines[r] += line; },
           .now = [&clock] { return clock.Now(); }},
          std::move(inner), device, store, {});
      ASSERT_TRUE(communicator.ok()) << communicator.status();
      std::vector<float> data(10, 1.0f);
      device.cost = [](const PeerReduceArgs& args) {
        EXPECT_FALSE(args.two_shot);
        return std::chrono::microseconds(10);
      };
      EXPECT_TRUE((*communicator)->AllReduceSum(TensorView(data.data(), DType::kF32, {10})).ok());
    });
  }
  threads.clear();
  EXPECT_EQ(lines[0],
            "sums over ranks: one shot up to 1048576 bytes, the other way beyond; measured with "
            "norm (one shot, two, the other way): 4096 bytes 10, 20, 50 us, 16384 bytes 10, 20, 50 "
            "us, 65536 bytes 10, 20, 50 us, 262144 bytes 10, 20, 50 us, 1048576 bytes 10, 20, 50 "
            "us");
  EXPECT_TRUE(lines[1].starts_with(
      "sums over ranks: one shot up to 1048576 bytes, the other way beyond; measured with norm "
      "(one shot, two, the other way): 4096 bytes 20, 10, 50 us"))
      << lines[1];
}

// Rank 1 stands still while ways are timed: whoever forms the group anew does not wait for it.
TEST(PeerCommunicator, StoppingEndsTheTimingOfSums) {
  class Timed : public ForwardingPeerDevice {
   public:
    using ForwardingPeerDevice::ForwardingPeerDevice;
    bool IsTimed() const override { return true; }
  };
  class Stuck final : public Timed {
   public:
    using Timed::Timed;
    Status PeerReduce(const PeerReduceArgs&) override {
      came = true;
      came.notify_all();
      may_go.wait(false);
      return Unavailable("this rank has ended");
    }
    std::atomic<bool> came{false}, may_go{false};
  };
  RankGroup inner({TestTransport::kNamedSharedMemory, 2}, kNever);
  InMemoryStore store;
  std::vector<std::unique_ptr<kernels::CudaOps>> ops;
  for (int r = 0; r < 2; ++r) ops.push_back(kernels::CreateEmulatedOps().value());
  Timed timed(*ops[0]);
  Stuck stuck(*ops[1]);
  std::stop_source stop;
  Status ended[2];
  const auto connect = [&](int r, PeerDevice& device, std::stop_token token) {
    ended[r] = PeerCommunicator::Connect({.group = "test", .timeout = kNever}, inner.Take(r),
                                         device, store, std::move(token))
                   .status();
  };
  std::jthread zero([&] { connect(0, timed, stop.get_token()); });
  std::jthread one([&] { connect(1, stuck, {}); });
  stuck.came.wait(false);
  stop.request_stop();
  zero.join();
  EXPECT_EQ(ended[0].code(), StatusCode::kAborted) << ended[0];
  stuck.may_go = true;
  stuck.may_go.notify_all();
  one.join();
  EXPECT_FALSE(ended[1].ok());
}

}  // namespace
}  // namespace longhand::comm
