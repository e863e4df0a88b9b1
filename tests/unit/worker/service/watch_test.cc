// A worker's heartbeat, and what it loads before it has a place.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "tests/unit/worker/service/test_worker.h"

namespace longhand::service {
namespace {

class Pulses {
 public:
  explicit Pulses(TestWorker& worker) {
    wire::WatchRequest request;
    request.set_period_ms(10);
    reader_ = worker.stub->Watch(&context_, request);
  }
  wire::Pulse Next() {
    wire::Pulse pulse;
    EXPECT_TRUE(reader_->Read(&pulse));
    return pulse;
  }
  Status Cancel() {
    context_.TryCancel();
    return FromGrpc(reader_->Finish());
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<wire::Pulse>> reader_;
};

Status Prepare(TestWorker& worker, const wire::ConfigureRequest& request) {
  grpc::ClientContext context;
  wire::PrepareResponse response;
  return FromGrpc(worker.stub->Prepare(&context, request, &response));
}

TEST(Watch, AnIdleWorkerShowsThatItTurns) {
  TestWorker worker;
  Pulses pulses(worker);
  const wire::Pulse first = pulses.Next();
  EXPECT_EQ(first.description().pid(), getpid());
  uint64_t progress = first.progress();
  for (int turns = 0; turns < 3;) {
    const wire::Pulse pulse = pulses.Next();
    EXPECT_FALSE(pulse.has_description());
    EXPECT_FALSE(pulse.is_busy());
    turns += pulse.progress() != progress ? 1 : 0;
    progress = pulse.progress();
  }
  EXPECT_EQ(pulses.Cancel().code(), StatusCode::kCancelled);
}

// Rank 0 is in a collective, for which its peer never comes.
TEST(Watch, AWorkerThatWaitsForItsPeersSaysSoAndStandsStill) {
  TestWorker zero, one;
  std::jthread other([&] { EXPECT_TRUE(Configure(one, SetupOf(1, 1, 2)).ready()); });
  ASSERT_TRUE(Configure(zero, SetupOf(1, 0, 2)).ready());
  other.join();
  Pulses pulses(zero);
  PlanStream plans(zero);
  ASSERT_TRUE(plans.Send(Plan(1, 1)));
  wire::Pulse pulse = pulses.Next();
  while (!pulse.waits_for_peers()) pulse = pulses.Next();
  EXPECT_TRUE(pulse.is_busy());
  EXPECT_EQ(pulse.epoch(), 1);
  EXPECT_EQ(pulses.Next().progress(), pulse.progress());
  plans.Cancel();
  while (pulse.is_busy()) pulse = pulses.Next();
  EXPECT_FALSE(pulse.waits_for_peers());
}

TEST(Watch, APreparedWorkerLoadsNothingForThatPlace) {
  TestWorker worker;
  ASSERT_EQ(Prepare(worker, SetupOf(/*epoch=*/1)), OkStatus());
  EXPECT_EQ(worker.log.loads, 1);
  EXPECT_EQ(worker.executor().epoch(), 0);
  ASSERT_EQ(Prepare(worker, SetupOf(/*epoch=*/1)), OkStatus());
  ASSERT_TRUE(Configure(worker, SetupOf(/*epoch=*/3)).ready());
  EXPECT_EQ(worker.log.loads, 1);
  PlanStream stream(worker);
  ASSERT_TRUE(stream.Send(Plan(3, 1)));
  EXPECT_TRUE(stream.Receive().ok());
}

TEST(Watch, AWorkerWithAnEpochPreparesNothing) {
  TestWorker worker;
  ASSERT_TRUE(Configure(worker, SetupOf(/*epoch=*/2)).ready());
  EXPECT_EQ(Prepare(worker, SetupOf(/*epoch=*/3)).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(worker.log.loads, 1);
}

}  // namespace
}  // namespace longhand::service
