#include "coordinator/cluster/roster.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;

constexpr int64_t kGib = int64_t{1} << 30;
constexpr auto kOwn = Roster::Memory::kOwn;

// A worker as far as its link hears of it: it describes itself, and lives until it is let go.
class DescribedWorker final : public wire::Worker::Service {
 public:
  explicit DescribedWorker(Roster& roster) : link_("") { roster.Add(link_); }
  ~DescribedWorker() override { Stop(); }

  // A process starts with this description, in the place of the one before.
  void Start(const wire::DescribeResponse& description) {
    Stop();
    description_ = description;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    link_.MoveTo("127.0.0.1:" + std::to_string(port));
    link_.Open();
    while (!link_.alive()) std::this_thread::yield();
  }
  const WorkerLink& link() const { return link_; }

 private:
  void Stop() {
    link_.Close();
    if (server_ != nullptr) server_->Shutdown();
    server_.reset();
  }
  grpc::Status Watch(grpc::ServerContext* context,
                     const wire::WatchRequest*,
                     grpc::ServerWriter<wire::Pulse>* writer) override {
    wire::Pulse pulse;
    *pulse.mutable_description() = description_;
    writer->Write(pulse);
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  }

  wire::DescribeResponse description_;
  std::unique_ptr<grpc::Server> server_;
  WorkerLink link_;
};

// Of a GPU of 80 GiB.
wire::DescribeResponse OnGpu(const std::string& identity, int64_t taken_mib) {
  wire::DescribeResponse description;
  description.set_version("1");
  description.set_device("cuda");
  description.set_memory_identity(identity);
  description.set_memory_bytes(80 * kGib);
  description.set_taken_memory_bytes(taken_mib << 20);
  description.set_library_bytes(2 * kGib);
  return description;
}

class RosterTest : public ::testing::Test {
 protected:
  Roster roster_;
  DescribedWorker first_{roster_}, second_{roster_};
};

// Its predecessor's memory that peers still have mapped, say.
TEST_F(RosterTest, AGpuOfOneWorkerIsItsOwnHoweverMuchWasTakenWhenItStarted) {
  for (const int64_t taken_mib : {510, 543, 1024}) {
    Roster roster;
    DescribedWorker worker(roster);
    worker.Start(OnGpu("a", taken_mib));
    EXPECT_EQ(roster.BytesFor(worker.link(), kOwn), 78 * kGib) << taken_mib;
  }
}

TEST_F(RosterTest, EachRankOnAGpuLeavesItsOwnToLibraries) {
  first_.Start(OnGpu("a", 510));
  second_.Start(OnGpu("a", 1020));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 38 * kGib);
  EXPECT_EQ(roster_.BytesFor(second_.link(), kOwn), 38 * kGib);
  second_.Start(OnGpu("b", 510));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 78 * kGib);
}

// Both in turn: in the end each has found the other's weights on the GPU.
TEST_F(RosterTest, RanksThatStartAgainBesideOthersGetWhatTheyHad) {
  first_.Start(OnGpu("a", 510));
  second_.Start(OnGpu("a", 1020));
  ASSERT_EQ(roster_.BytesFor(first_.link(), kOwn), 38 * kGib);
  first_.Start(OnGpu("a", 40'000));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 38 * kGib);
  second_.Start(OnGpu("a", 40'000));
  EXPECT_EQ(roster_.BytesFor(second_.link(), kOwn), 38 * kGib);
}

// Another coordinator finds the one that has been there for longer.
TEST_F(RosterTest, OfSharersTheOneThatFoundTheLeastTakenTellsOfStrangers) {
  first_.Start(OnGpu("a", 40'000));
  second_.Start(OnGpu("a", 510));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 38 * kGib);
}

TEST_F(RosterTest, WhatStrangersHaveOfAGpuIsLeftToThem) {
  first_.Start(OnGpu("a", 10 * 1024 + 510));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 68 * kGib);
  // Fewer, or more, when the worker starts again: the group's sizes are those of before.
  first_.Start(OnGpu("a", 510));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 68 * kGib);
}

TEST_F(RosterTest, AGpuThatIsFullOfOthersLeavesNothing) {
  first_.Start(OnGpu("a", 79 * 1024));
  EXPECT_EQ(roster_.BytesFor(first_.link(), kOwn), 0);
}

}  // namespace
}  // namespace longhand::cluster
