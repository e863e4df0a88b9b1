#include "coordinator/cluster/warm_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace longhand::cluster {
namespace {

using ::testing::HasSubstr;

StepResult Sampled(float logprob) {
  return {.sequences = {{.sequence_id = kWarmUpSequence, .tokens = {{.logprob = logprob}}}}};
}

TEST(WarmUp, AsksForTheLogProbabilityThatItChecks) {
  EXPECT_EQ(WarmUpPlan(/*epoch=*/3).chunks[0].start[0].sampling.num_logprobs, 0);
  EXPECT_EQ(CheckWarmUp(Sampled(-2.5f)), OkStatus());
  EXPECT_EQ(CheckWarmUp({}), OkStatus());  // of a rank that samples nothing, and of the release
}

TEST(WarmUp, AModelThatGivesNoNumbersIsRefusedForGood) {
  for (const float logprob :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const Status status = CheckWarmUp(Sampled(logprob));
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("a weight of the decoder is NaN or infinite"));
  }
}

TEST(WarmUp, AStepThatFailedSaysWhy) {
  StepResult failed;
  failed.status = Unavailable("a rank is gone");
  EXPECT_EQ(CheckWarmUp(failed), failed.status);
}

}  // namespace
}  // namespace longhand::cluster
