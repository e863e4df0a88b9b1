#include "worker/runner/token_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace longhand::runner {
namespace {

using ::testing::ElementsAre;

class TokenHistoryTest : public ::testing::Test {
 protected:
  TokenHistoryTest() {
    auto history = TokenHistory::Create(limits_, *ops_);
    LONGHAND_CHECK(history.ok()) << history.status();
    history_ = std::move(history).value();
  }

  const PlanLimits limits_{.max_num_seqs = 3, .max_model_len = 6};
  const std::unique_ptr<kernels::Ops> ops_ = kernels::CreateReferenceOps();
  std::unique_ptr<TokenHistory> history_;
};

TEST_F(TokenHistoryTest, EachSequenceHasARowOfItsOwnUntilItIsFreed) {
  std::set<int32_t> rows;
  for (int i = 0; i < 3; ++i) rows.insert(history_->TakeRow());
  EXPECT_THAT(rows, ElementsAre(0, 1, 2));
  history_->FreeRow(1);
  EXPECT_EQ(history_->TakeRow(), 1);
  history_->FreeAll();
  rows.clear();
  for (int i = 0; i < 3; ++i) rows.insert(history_->TakeRow());
  EXPECT_EQ(rows.size(), 3u);
}

TEST_F(TokenHistoryTest, ARowBeginsWithPromptAndAnswerAndHasRoomForOneTokenMore) {
  EXPECT_TRUE(history_->tokens().HasShape({3, 7}));
  EXPECT_EQ(history_->tokens().num_bytes(),
            static_cast<size_t>(TokenHistory::WorkspaceBytes(limits_)));
  const std::vector<int32_t> prompt = {5, 6}, output = {7};
  ASSERT_EQ(history_->Fill(1, prompt, output), OkStatus());
  ASSERT_EQ(history_->Fill(2, {}, {}), OkStatus());
  ASSERT_EQ(ops_->Synchronize(), OkStatus());
  const int32_t* tokens = history_->tokens().as<int32_t>();
  EXPECT_EQ(history_->IdxOf(1, 2), 9);
  EXPECT_THAT(std::vector<int32_t>(tokens + 7, tokens + 14), ElementsAre(5, 6, 7, 0, 0, 0, 0));
  EXPECT_THAT(std::vector<int32_t>(tokens + 14, tokens + 21), ElementsAre(0, 0, 0, 0, 0, 0, 0));
}

}  // namespace
}  // namespace longhand::runner
