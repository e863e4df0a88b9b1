#include "worker/comm/create_communicator.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "tests/unit/worker/comm/in_memory_store.h"
#include "worker/comm/host_identity.h"

namespace longhand::comm {
namespace {

CommunicatorConfig Gloo(int rank, int size) {
  CommunicatorConfig config;
  config.rank = rank;
  config.size = size;
  config.group = "test-" + std::to_string(getpid());
  config.transport = Transport::kGloo;
  config.host = "127.0.0.1";
  config.timeout = std::chrono::seconds(60);
  return config;
}

StatusCode CodeOf(const CommunicatorConfig& config) {
  InMemoryStore store;
  const auto communicator = CreateCommunicator(config, store, {});
  EXPECT_FALSE(communicator.ok());
  EXPECT_FALSE(communicator.status().message().empty());
  return communicator.status().code();
}

TEST(CreateCommunicator, OneRankNeedsNoTransport) {
  InMemoryStore store;
  for (const Transport transport :
       {Transport::kSingle, Transport::kSharedMemory, Transport::kGloo}) {
    CommunicatorConfig config;
    config.transport = transport;
    const auto communicator = CreateCommunicator(config, store, {});
    ASSERT_TRUE(communicator.ok()) << communicator.status();
    EXPECT_TRUE(communicator.value()->Barrier().ok());
  }
}

TEST(CreateCommunicator, RefusesWhatCannotWork) {
  const auto with = [](auto change) {
    CommunicatorConfig config = Gloo(0, 2);
    change(config);
    return CodeOf(config);
  };
  using C = CommunicatorConfig;
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  EXPECT_EQ(with([](C& c) { c.rank = 2; }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.rank = -1; }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.size = 0; }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.timeout = std::chrono::milliseconds(0); }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.transport = Transport::kSingle; }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.host = ""; }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.interface_name = "lo"; }), kInvalid);
  EXPECT_EQ(with([](C& c) { c.host = "no such host"; }), kInvalid);
  EXPECT_EQ(with([](C& c) {
              c.transport = Transport::kSharedMemory;
              c.chunk_bytes = 1000;
            }),
            kInvalid);
  EXPECT_EQ(with([](C& c) {
              c.transport = Transport::kSharedMemory;
              c.size = 65;
            }),
            kInvalid);
}

// 192.0.2.1 is reserved for documentation: no machine has it.
TEST(CreateCommunicator, AnAddressOfAnotherMachineIsAnErrorNotACrash) {
  CommunicatorConfig config = Gloo(0, 2);
  config.host = "192.0.2.1";
  EXPECT_EQ(CodeOf(config), StatusCode::kUnavailable);
  config.host = "";
  config.interface_name = "no-such-if";
  EXPECT_EQ(CodeOf(config), StatusCode::kUnavailable);
}

TEST(CreateCommunicator, GlooListensOnAnInterfaceByName) {
  InMemoryStore store;
  std::vector<std::jthread> ranks;
  for (const int rank : {0, 1}) {
    ranks.emplace_back([&store, rank] {
      CommunicatorConfig config = Gloo(rank, 2);
      config.host = "";
      config.interface_name = "lo";
      const auto communicator = CreateCommunicator(config, store, {});
      ASSERT_TRUE(communicator.ok()) << communicator.status();
      EXPECT_TRUE(communicator.value()->Barrier().ok());
    });
  }
}

TEST(CreateCommunicator, APeerThatNeverPublishesItsAddressTimesOut) {
  CommunicatorConfig config = Gloo(0, 2);
  config.timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(CodeOf(config), StatusCode::kDeadlineExceeded);
}

// Publishes for rank 1 an address that nobody is behind, larger than any of ours: rank 0 is the
// side that listens.
void PublishDeadPeer(InMemoryStore& store) {
  std::string address(136, '\0');  // As long as an address of Gloo is.
  address[0] = AF_INET;
  for (size_t i = 2; i < 8; ++i) address[i] = '\x7f';
  ASSERT_TRUE(store.Set(Gloo(0, 2).group + "/0/1", address).ok());
}

TEST(CreateCommunicator, APeerThatNeverConnectsTimesOut) {
  InMemoryStore store;
  PublishDeadPeer(store);
  CommunicatorConfig config = Gloo(0, 2);
  config.timeout = std::chrono::milliseconds(50);
  const auto communicator = CreateCommunicator(config, store, {});
  EXPECT_EQ(communicator.status().code(), StatusCode::kDeadlineExceeded) << communicator.status();
}

TEST(CreateCommunicator, StopEndsTheFormingOfAGroupAtEveryStage) {
  for (const bool peer_published : {false, true}) {
    InMemoryStore store;
    if (peer_published) PublishDeadPeer(store);
    std::stop_source stop;
    Status status;
    std::jthread forming(
        [&] { status = CreateCommunicator(Gloo(0, 2), store, stop.get_token()).status(); });
    // Its own addresses are out: it waits for the peer now, or soon.
    ASSERT_TRUE(store.Get(Gloo(0, 2).group + "/0/0", std::chrono::seconds(60), {}).ok());
    for (int turn = 0; turn < 10'000; ++turn) std::this_thread::yield();
    stop.request_stop();
    forming.join();
    EXPECT_EQ(status.code(), StatusCode::kAborted) << status;
  }
}

// Rank 1 believes in another epoch but got hold of rank 0's address.
TEST(CreateCommunicator, ARankOfAnotherEpochIsFoundOut) {
  InMemoryStore epoch_one;
  InMemoryStore epoch_two;
  const std::string prefix = Gloo(0, 2).group;
  std::vector<std::jthread> threads;
  for (const int rank : {0, 1}) {
    threads.emplace_back([&, rank] {
      CommunicatorConfig config = Gloo(rank, 2);
      config.epoch = rank + 1;
      InMemoryStore& mine = rank == 0 ? epoch_one : epoch_two;
      EXPECT_FALSE(CreateCommunicator(config, mine, {}).ok());
    });
  }
  // Hands each rank's addresses to the other, under the other's epoch.
  const auto of_zero = epoch_one.Get(prefix + "/1/0", std::chrono::seconds(60), {});
  const auto of_one = epoch_two.Get(prefix + "/2/1", std::chrono::seconds(60), {});
  ASSERT_TRUE(epoch_one.Set(prefix + "/1/1", of_one.value()).ok());
  ASSERT_TRUE(epoch_two.Set(prefix + "/2/0", of_zero.value()).ok());
}

TEST(HostIdentity, IsTheSameInTheSameProcessAndHasNoSpaces) {
  EXPECT_EQ(HostIdentity(), HostIdentity());
  EXPECT_FALSE(HostIdentity().empty());
  EXPECT_EQ(HostIdentity().find_first_of(" \n\t"), std::string::npos);
}

}  // namespace
}  // namespace longhand::comm
