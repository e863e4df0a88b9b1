// Two workers as a group: what happens when an epoch ends in the middle of something.
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/worker/service/test_worker.h"

namespace longhand::service {
namespace {

class WorkerFencing : public testing::Test {
 protected:
  // Both ranks, side by side, as a coordinator does.
  void FormGroup(int64_t epoch) {
    std::jthread other([&] { EXPECT_TRUE(Configure(one_, SetupOf(epoch, 1, 2)).ready()); });
    EXPECT_TRUE(Configure(zero_, SetupOf(epoch, 0, 2)).ready());
  }

  void ExpectGroupWorks(int64_t epoch) {
    PlanStream zero(zero_);
    PlanStream one(one_);
    for (int64_t step = 1; step <= 3; ++step) {
      ASSERT_TRUE(zero.Send(Plan(epoch, step)));
      ASSERT_TRUE(one.Send(Plan(epoch, step)));
      const Result<StepResult> result = zero.Receive();
      ASSERT_TRUE(result.ok()) << zero.Finish();
      ASSERT_TRUE(result->status.ok()) << result->status;
      EXPECT_EQ(result->sequences[0].tokens[0].token_id, 3 + 100 * step);
      const Result<StepResult> other = one.Receive();
      ASSERT_TRUE(other.ok());
      EXPECT_EQ(other->rank, 1);
      EXPECT_TRUE(other->sequences.empty());
    }
  }

  // Rank 0 gets a plan that rank 1 never gets: it waits in a collective.
  void LetRankZeroWait(PlanStream& stream, int64_t epoch) {
    const int begun = zero_.log.steps_begun;
    ASSERT_TRUE(stream.Send(Plan(epoch, 1)));
    while (zero_.log.steps_begun == begun) std::this_thread::yield();
  }

  TestWorker zero_;
  TestWorker one_;
};

TEST_F(WorkerFencing, AGroupSumsOverItsRanks) {
  FormGroup(1);
  ExpectGroupWorks(1);
}

TEST_F(WorkerFencing, ANewEpochAbortsTheStepInFlightAndEndsItsStream) {
  FormGroup(1);
  PlanStream old(zero_);
  LetRankZeroWait(old, 1);
  FormGroup(2);
  EXPECT_EQ(old.AwaitEnd().code(), StatusCode::kAborted);
  ExpectGroupWorks(2);
  EXPECT_EQ(zero_.log.loads, 1);
}

TEST_F(WorkerFencing, LosingTheStreamAbortsTheStepInFlight) {
  FormGroup(1);
  {
    PlanStream lost(zero_);
    LetRankZeroWait(lost, 1);
    lost.Cancel();
    EXPECT_EQ(lost.AwaitEnd().code(), StatusCode::kCancelled);
  }
  // The epoch is over: it waits for the next coordinator, which finds the weights in place.
  while (zero_.executor().ready()) std::this_thread::yield();
  FormGroup(2);
  ExpectGroupWorks(2);
  EXPECT_EQ(zero_.log.loads, 1);
}

TEST_F(WorkerFencing, APlanOfTheOldEpochIsNotExecutedAfterwards) {
  FormGroup(1);
  PlanStream old(zero_);
  LetRankZeroWait(old, 1);
  // Queued behind the step that waits.
  ASSERT_TRUE(old.Send(Plan(1, 2)));
  ASSERT_TRUE(old.Send(Plan(1, 3)));
  const int begun = zero_.log.steps_begun;
  FormGroup(2);
  EXPECT_EQ(zero_.log.steps_begun, begun);
}

TEST_F(WorkerFencing, CancellingAConfigurationEndsTheFormingOfItsGroup) {
  grpc::ClientContext context;
  const auto reader = zero_.stub->Configure(&context, SetupOf(1, 0, 2));
  wire::ConfigureProgress progress;
  ASSERT_TRUE(reader->Read(&progress));  // It waits for rank 1 now, or soon.
  context.TryCancel();
  EXPECT_EQ(FromGrpc(reader->Finish()).code(), StatusCode::kCancelled);
  FormGroup(2);
  ExpectGroupWorks(2);
}

TEST_F(WorkerFencing, ANewEpochEndsTheFormingOfTheOldOne) {
  std::jthread old(
      [&] { EXPECT_EQ(Configure(zero_, SetupOf(1, 0, 2)).status.code(), StatusCode::kAborted); });
  while (zero_.executor().epoch() != 1) std::this_thread::yield();
  FormGroup(2);
  ExpectGroupWorks(2);
}

TEST_F(WorkerFencing, StopEndsAStepThatWaits) {
  FormGroup(1);
  PlanStream stream(zero_);
  LetRankZeroWait(stream, 1);
  EXPECT_TRUE(zero_.executor().Stop(std::chrono::minutes(1)));
  EXPECT_EQ(stream.AwaitEnd().code(), StatusCode::kUnavailable);
  EXPECT_EQ(Configure(zero_, SetupOf(2)).status.code(), StatusCode::kUnavailable);
}

TEST_F(WorkerFencing, StopEndsTheFormingOfAGroup) {
  std::jthread forming(
      [&] { EXPECT_EQ(Configure(zero_, SetupOf(1, 0, 2)).status.code(), StatusCode::kAborted); });
  while (zero_.executor().epoch() != 1) std::this_thread::yield();
  EXPECT_TRUE(zero_.executor().Stop(std::chrono::minutes(1)));
}

}  // namespace
}  // namespace longhand::service
