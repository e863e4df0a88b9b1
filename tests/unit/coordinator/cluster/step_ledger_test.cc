#include "coordinator/cluster/step_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::cluster {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

StepResult ResultOf(int64_t step, int32_t rank, Status status = OkStatus()) {
  StepResult result{.step = step, .rank = rank, .status = std::move(status)};
  if (rank == 0) result.sequences = {{.sequence_id = 7, .tokens = {{.token_id = 42}}}};
  return result;
}

class StepLedgerTest : public ::testing::Test {
 protected:
  StepLedger ledger_{/*num_ranks=*/2};
};

TEST_F(StepLedgerTest, AStepIsDoneWhenEveryRankHasAnsweredAndHasRankZerosTokens) {
  ledger_.Sent(1, milliseconds(10), /*num_tokens=*/1);
  const auto first = ledger_.Answered(ResultOf(1, 0));
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->has_value());
  const auto second = ledger_.Answered(ResultOf(1, 1));
  ASSERT_TRUE(second.ok());
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ((**second).sequences[0].tokens[0].token_id, 42);
  EXPECT_TRUE(ledger_.empty());
}

TEST_F(StepLedgerTest, TheFirstErrorIsKeptWhicheverRankItCameFrom) {
  ledger_.Sent(1, milliseconds(10), /*num_tokens=*/1);
  ASSERT_TRUE(ledger_.Answered(ResultOf(1, 1, Internal("no memory"))).ok());
  const auto done = ledger_.Answered(ResultOf(1, 0));
  ASSERT_TRUE(done.ok() && done->has_value());
  EXPECT_EQ((**done).status.message(), "rank 1: no memory");
  EXPECT_EQ((**done).sequences.size(), 1u);
}

TEST_F(StepLedgerTest, AnAnswerThatNobodyWaitsForIsAnError) {
  ledger_.Sent(1, milliseconds(10), /*num_tokens=*/1);
  EXPECT_FALSE(ledger_.Answered(ResultOf(2, 0)).ok());
  EXPECT_FALSE(ledger_.Answered(ResultOf(1, 2)).ok());
  ASSERT_TRUE(ledger_.Answered(ResultOf(1, 1)).ok());
  EXPECT_FALSE(ledger_.Answered(ResultOf(1, 1)).ok());
}

TEST_F(StepLedgerTest, TheClockOfAStepStartsWhenTheOneBeforeItIsDone) {
  ledger_.Sent(1, milliseconds(10), /*num_tokens=*/1);
  ledger_.Sent(2, milliseconds(10), /*num_tokens=*/2);
  ledger_.OnTime(milliseconds(10));
  EXPECT_TRUE(ledger_.CheckDeadline().ok());
  ASSERT_TRUE(ledger_.Answered(ResultOf(1, 0)).ok());
  ASSERT_TRUE(ledger_.Answered(ResultOf(1, 1)).ok());
  ledger_.OnTime(milliseconds(10));
  EXPECT_TRUE(ledger_.CheckDeadline().ok());
  ASSERT_TRUE(ledger_.Answered(ResultOf(2, 0)).ok());
  ledger_.OnTime(milliseconds(1));
  const Status late = ledger_.CheckDeadline();
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(late.message(), HasSubstr("step 2 has taken 11 ms, more than the 10 ms allowed"));
  EXPECT_THAT(late.message(), HasSubstr("no answer from rank 1"));
}

TEST_F(StepLedgerTest, AnIdleLedgerIsNeverLate) {
  ledger_.OnTime(std::chrono::hours(1));
  EXPECT_TRUE(ledger_.CheckDeadline().ok());
  ledger_.Sent(1, milliseconds(10), /*num_tokens=*/1);
  EXPECT_TRUE(ledger_.CheckDeadline().ok());
}

}  // namespace
}  // namespace longhand::cluster
