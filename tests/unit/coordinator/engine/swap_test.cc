// Preempted answers whose KV blocks wait in host memory.
#include <gtest/gtest.h>

#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

constexpr int64_t kPromptTokens = 8;
constexpr int64_t kMaxTokens = 112;

// Runs to max_tokens, though it might end before.
Request Long(const std::string& id) {
  Request request = MakeRequest(id, kPromptTokens, kMaxTokens, std::hash<std::string>()(id));
  request.ignore_eos = true;
  request.stop_strings = {"no such text"};
  return request;
}

EngineConfig Config(int32_t depth) {
  EngineConfig config = SmallConfig();
  config.pipeline_depth = depth;
  config.enable_prefix_caching = false;
  return config;
}

GroupShape ShapeWithHostBlocks(int64_t num_host_blocks) {
  GroupShape shape = SmallShape();
  shape.num_host_blocks = num_host_blocks;
  return shape;
}

// 32 blocks of 8; each of the four answers needs 15 in the end, and is admitted for 2.
class SwapTest : public testing::TestWithParam<int32_t> {
 protected:
  void Start(int64_t num_host_blocks) {
    harness_ =
        std::make_unique<EngineHarness>(Config(GetParam()), ShapeWithHostBlocks(num_host_blocks));
    harness_->FormGroup();
    // From here on an answer is expected to have one token.
    for (int i = 0; i < 16; ++i) {
      harness_->Submit(MakeRequest("short" + std::to_string(i), 2, 1));
      harness_->RunToEnd();
    }
    for (const char* id : {"a", "b", "c", "d"}) {
      requests_.push_back(Long(id));
      recordings_.push_back(harness_->Submit(requests_.back()));
    }
  }
  EngineStats Stats() const { return harness_->engine_.Stats(); }
  void RunUntilSwappedOut() {
    while (Stats().num_swapped_out_blocks == 0) harness_->RunStep();
  }
  // How many tokens were computed.
  int64_t RunToEnd() {
    int64_t num_tokens = 0;
    while (!harness_->plans_.empty()) {
      num_tokens += harness_->plans_.front().num_tokens();
      harness_->RunStep();
    }
    for (size_t i = 0; i < requests_.size(); ++i) {
      EXPECT_TRUE(recordings_[i]->end.has_value() && recordings_[i]->end->ok());
      EXPECT_EQ(recordings_[i]->answers[0], harness_->Expected(requests_[i]));
    }
    EXPECT_EQ(Stats().num_free_blocks, harness_->shape_.num_blocks);
    EXPECT_EQ(Stats().num_free_host_blocks, harness_->shape_.num_host_blocks);
    return num_tokens;
  }

  std::unique_ptr<EngineHarness> harness_;
  std::vector<Request> requests_;
  std::vector<std::shared_ptr<Recording>> recordings_;
};

TEST_P(SwapTest, WhereThereIsRoomNoTokenIsComputedAgain) {
  Start(/*num_host_blocks=*/32);
  EXPECT_EQ(RunToEnd(), 4 * (kPromptTokens + kMaxTokens - 1));
  EXPECT_GE(Stats().num_preemptions, 1);
  EXPECT_GE(Stats().num_swapped_out_blocks, 1);
  EXPECT_EQ(Stats().num_swapped_in_blocks, Stats().num_swapped_out_blocks);
}

// Two blocks of the first victim's; what does not fit is computed again.
TEST_P(SwapTest, TheBeginningIsKeptWhereThereIsLittleRoom) {
  Start(/*num_host_blocks=*/2);
  const int64_t num_tokens = RunToEnd();
  EXPECT_GT(num_tokens, 4 * (kPromptTokens + kMaxTokens - 1));
  EXPECT_GE(Stats().num_swapped_in_blocks, 2);
}

TEST_P(SwapTest, AnAnswerThatIsCancelledGivesItsHostBlocksBack) {
  Start(/*num_host_blocks=*/32);
  RunUntilSwappedOut();
  EXPECT_LT(Stats().num_free_host_blocks, 32);
  for (const Request& request : requests_) {
    ASSERT_TRUE(harness_->engine_.Cancel(request.request_id, nullptr).ok());
    harness_->Turn();
  }
  harness_->RunToEnd();
  EXPECT_EQ(Stats().num_free_host_blocks, 32);
  EXPECT_EQ(Stats().num_free_blocks, 32);
}

// Host memory goes with its worker; the next group computes all again.
TEST_P(SwapTest, ALostGroupTakesTheSwappedBlocksWithIt) {
  Start(/*num_host_blocks=*/32);
  RunUntilSwappedOut();
  harness_->engine_.OnGroupDown(1, Unavailable("rank 1 was killed"));
  harness_->Turn();
  harness_->FormGroup(2);
  EXPECT_EQ(Stats().num_free_host_blocks, 32);
  RunToEnd();
}

INSTANTIATE_TEST_SUITE_P(Depth, SwapTest, testing::Values(0, 1));

}  // namespace
}  // namespace longhand::engine
