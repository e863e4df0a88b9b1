#include "worker/runner/steps_in_flight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

using ::testing::HasSubstr;

class StepsInFlightTest : public ::testing::Test {
 protected:
  StepsInFlightTest() {
    auto steps = StepsInFlight::Create(*ops_);
    LONGHAND_CHECK(steps.ok()) << steps.status();
    steps_ = std::move(steps).value();
  }
  // A step of one sequence that is left to the device with this token.
  void Leave(int64_t number, const int32_t& token_id) {
    StepsInFlight::Step& step = steps_->Begin({.epoch = 4, .step = number}, rank_);
    step.result.sequences = {{.sequence_id = 9}};
    ASSERT_EQ(steps_->Leave({&token_id, 1}, &step), OkStatus());
    steps_->EndBegin(&step);
  }

  const std::unique_ptr<kernels::Ops> ops_ = kernels::CreateReferenceOps();
  comm::SingleRankCommunicator communicator_;
  std::unique_ptr<StepsInFlight> steps_;
  int32_t rank_ = 0;
};

TEST_F(StepsInFlightTest, ResultsAreTakenInOrderWithTheTokensThatAreThereThen) {
  int32_t first = 0, second = 0;
  EXPECT_FALSE(steps_->HasRoomBehind());
  Leave(1, first);
  EXPECT_TRUE(steps_->HasRoomBehind());
  Leave(2, second);
  EXPECT_FALSE(steps_->HasRoomBehind());
  first = 11;
  second = 12;
  for (const int32_t token_id : {11, 12}) {
    ASSERT_TRUE(steps_->HasEnded(communicator_));
    const StepResult result = steps_->Take();
    EXPECT_EQ(result.epoch, 4);
    EXPECT_EQ(result.step, token_id - 10);
    EXPECT_EQ(result.status, OkStatus());
    EXPECT_GE(result.execute_us, 0);
    ASSERT_EQ(result.sequences.size(), 1u);
    EXPECT_EQ(result.sequences[0].sequence_id, 9);
    EXPECT_EQ(result.sequences[0].tokens.at(0).token_id, token_id);
  }
  EXPECT_TRUE(steps_->empty());
}

TEST_F(StepsInFlightTest, OnlyRankZeroReturnsTokens) {
  rank_ = 1;
  const int32_t token_id = 3;
  Leave(1, token_id);
  ASSERT_TRUE(steps_->HasEnded(communicator_));
  EXPECT_TRUE(steps_->Take().sequences.empty());
}

TEST_F(StepsInFlightTest, NothingBeginsBehindAStepThatIsOver) {
  StepsInFlight::Step& step = steps_->Begin({.step = 1}, 0);
  step.result.status = InvalidArgument("a wrong plan");
  steps_->EndBegin(&step);
  EXPECT_FALSE(steps_->HasRoomBehind());
  EXPECT_TRUE(steps_->HasEnded(communicator_));
  EXPECT_EQ(steps_->Take().status.code(), StatusCode::kInvalidArgument);
}

TEST_F(StepsInFlightTest, ATokenThatTheDrawLeftOpenIsAnError) {
  const int32_t open = -1;
  Leave(1, open);
  ASSERT_TRUE(steps_->HasEnded(communicator_));
  const StepResult result = steps_->Take();
  EXPECT_THAT(result.status.message(), HasSubstr("the token of sequence 9 was left open"));
  EXPECT_TRUE(result.sequences.empty());
}

TEST_F(StepsInFlightTest, AStepEndsWithItsGroup) {
  const int32_t token_id = 3;
  Leave(1, token_id);
  communicator_.Abort();
  ASSERT_TRUE(steps_->HasEnded(communicator_));
  EXPECT_EQ(steps_->Take().status.code(), StatusCode::kAborted);
}

}  // namespace
}  // namespace longhand::runner
