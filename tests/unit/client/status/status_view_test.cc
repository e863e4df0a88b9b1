#include "client/status/status_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/status/live_screen.h"

namespace longhand::client {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

v1::GetStatusResponse Status(int64_t uptime_ms, int64_t tokens, int64_t steps) {
  v1::GetStatusResponse status;
  status.set_model("nano");
  status.set_phase("ready");
  status.set_ready(true);
  status.set_epoch(1);
  status.set_uptime_ms(uptime_ms);
  status.set_generated_tokens(tokens);
  status.set_steps(steps);
  status.set_running_requests(2);
  status.set_last_token_age_ms(1500);
  status.set_kv_blocks_total(100);
  status.set_kv_blocks_free(75);
  v1::RankStatus* rank = status.add_ranks();
  rank->set_state(v1::GROUP_STATE_READY);
  rank->set_step(steps);
  rank->set_execute_us(2500);
  return status;
}

TEST(StatusView, RatesAreBetweenTwoAnswersOfOneServer) {
  StatusView view;
  view.Take(Status(1000, 100, 10), 1);
  EXPECT_THAT(view.Line(), HasSubstr("- tokens/s, - steps/s"));
  view.Take(Status(3000, 160, 30), 2);
  EXPECT_THAT(view.Line(), HasSubstr("30.0 tokens/s, 10.0 steps/s"));
  v1::GetStatusResponse formed_again = Status(4000, 161, 1);
  formed_again.set_epoch(2);
  view.Take(formed_again, 1);
  EXPECT_THAT(view.Line(), HasSubstr("1.0 tokens/s, - steps/s"));
  view.Take(Status(500, 3, 1), 1);
  EXPECT_THAT(view.Line(), HasSubstr("- tokens/s, - steps/s"));
}

TEST(StatusView, ShowsRanksCacheAndTheLastToken) {
  StatusView view;
  view.Take(Status(1000, 100, 10), 1);
  const std::vector<std::string> lines = view.Lines();
  EXPECT_THAT(lines, Contains(HasSubstr("[######..................] 25.0% of 100 blocks")));
  EXPECT_THAT(lines, Contains(HasSubstr("the last 1.5 s ago")));
  EXPECT_THAT(lines.back(), HasSubstr("2.50"));
  EXPECT_THAT(lines, Not(Contains(HasSubstr("weights"))));
}

TEST(StatusView, NamesAdaptersWhereThereIsRoomForAny) {
  StatusView view;
  v1::GetStatusResponse status = Status(1000, 100, 10);
  view.Take(status, 1);
  EXPECT_THAT(view.Lines(), Not(Contains(HasSubstr("adapters"))));
  status.set_max_loras(4);
  status.add_adapters()->set_name("slides");
  status.add_adapters()->set_name("story");
  view.Take(status, 1);
  EXPECT_THAT(view.Lines(), Contains("adapters  2 of 4 loaded: slides story"));
}

TEST(StatusView, ShowsHowFarWeightsAreLoaded) {
  StatusView view;
  v1::GetStatusResponse status = Status(1000, 0, 0);
  status.set_ready(false);
  status.set_percent(50);
  status.mutable_ranks(0)->set_state(v1::GROUP_STATE_LOADING);
  status.mutable_ranks(0)->set_load_progress(0.5f);
  view.Take(status, 1);
  EXPECT_THAT(view.Lines(), Contains(HasSubstr("weights   [############............] 50%")));
  EXPECT_THAT(view.Lines().back(), HasSubstr("load 50%"));
}

TEST(StatusView, ShowsGroupsWhereThereAreSeveral) {
  StatusView view;
  v1::GetStatusResponse status = Status(1000, 100, 10);
  status.add_groups()->set_phase("ready");
  view.Take(status, 1);
  EXPECT_THAT(view.Lines(), Not(Contains(HasSubstr("group"))));
  v1::GroupStatus* lost = status.add_groups();
  lost->set_group(1);
  lost->set_phase("connecting");
  lost->set_detail("worker rank 1 was lost");
  v1::RankStatus* rank = status.add_ranks();
  rank->set_group(1);
  rank->set_rank(1);
  view.Take(status, 1);
  EXPECT_THAT(view.Lines(), Contains(HasSubstr("2 groups of TP")));
  EXPECT_THAT(view.Lines(), Contains(HasSubstr("group 1   connecting: worker rank 1 was lost")));
  EXPECT_THAT(view.Lines().back(), HasSubstr(" 1.1 "));
  EXPECT_THAT(view.Line(), HasSubstr("; rank 1.1 "));
}

TEST(LiveScreen, CutsBetweenCharacters) {
  EXPECT_EQ(CutToWidth("abc", 5), "abc");
  EXPECT_EQ(CutToWidth("abcdef", 5), "abcde");
  EXPECT_EQ(CutToWidth("a\xc3\xa4\xc3\xb6z", 2), "a\xc3\xa4");
}

}  // namespace
}  // namespace longhand::client
