#include "coordinator/api/event_wire.h"

#include <gtest/gtest.h>

namespace longhand::api {
namespace {

engine::TokenEvent LastEvent() {
  return {.seq = 9,
          .choice = 1,
          .text = "end",
          .token_ids = {5},
          .logprobs = {{.token_id = 5, .logprob = -0.25f, .top = {{5, -0.25f}, {6, -2.0f}}}},
          .finish_reason = engine::FinishReason::kStop,
          .finish_detail = "eos",
          .usage = engine::Usage{.prompt_tokens = 3, .completion_tokens = 4}};
}

TEST(EventWire, CarriesTextLogprobsFinishAndUsage) {
  const v1::GenerateEvent wire = ToWire(LastEvent(), {});
  EXPECT_EQ(wire.seq(), 9);
  EXPECT_EQ(wire.choice(), 1u);
  EXPECT_EQ(wire.text(), "end");
  EXPECT_EQ(wire.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(wire.finish_detail(), "eos");
  EXPECT_EQ(wire.usage().total_tokens(), 7);
  ASSERT_EQ(wire.logprobs_size(), 1);
  EXPECT_EQ(wire.logprobs(0).top(1).token_id(), 6);
  EXPECT_TRUE(wire.request_id().empty());
}

TEST(EventWire, TokenIdsAreKeptAndSeenOnlyWhenAsked) {
  const v1::GenerateEvent whole = ToWire(LastEvent(), {});
  EXPECT_EQ(whole.token_ids(0), 5);
  v1::Return wanted;
  EXPECT_EQ(VisibleOf(whole, wanted).token_ids_size(), 0);
  wanted.set_token_ids(true);
  EXPECT_EQ(VisibleOf(whole, wanted).token_ids(0), 5);
}

TEST(EventWire, WholeEventsSayWhatWasDelivered) {
  std::vector<v1::GenerateEvent> events = {
      ToWire({.seq = 1, .prompt_logprobs = {{2, -1.5f, {{3, -0.5f}}}}}, {}),
      ToWire({.seq = 2, .choice = 1, .token_ids = {7}}, {}),
      ToWire({.seq = 3, .choice = 0, .token_ids = {8}}, {}),
      ToWire({.seq = 4, .choice = 1, .token_ids = {9}}, {})};
  const Result<engine::Delivered> delivered = DeliveredOf(events, 2);
  ASSERT_TRUE(delivered.ok()) << delivered.status();
  EXPECT_EQ(delivered->token_ids, (std::vector<std::vector<int32_t>>{{8}, {7, 9}}));
  EXPECT_EQ(delivered->last_event_seq, 4);
  EXPECT_EQ(delivered->num_prompt_logprobs, 1);
  EXPECT_EQ(DeliveredOf(events, 1).status().ToString(),
            "DATA_LOSS: event 2 of answer 1 comes after event 1; there are 1 answers");
  events.erase(events.begin() + 1);
  EXPECT_EQ(DeliveredOf(events, 2).status().code(), StatusCode::kDataLoss);
}

TEST(EventWire, TheFirstEventNamesTheRequestAndItsPrompt) {
  EventContext context{.request_id = "id", .prompt_token_ids = {1, 2}};
  context.wanted.set_prompt_token_ids(true);
  const v1::GenerateEvent first =
      ToWire({.seq = 1, .prompt_logprobs = {{2, -1.5f, {{3, -0.5f}}}}}, context);
  EXPECT_EQ(first.request_id(), "id");
  EXPECT_EQ(first.prompt_token_ids_size(), 2);
  EXPECT_EQ(first.prompt_logprobs(0).logprob(), -1.5f);
  EXPECT_EQ(first.prompt_logprobs(0).top(0).token_id(), 3);
  EXPECT_EQ(first.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
}

}  // namespace
}  // namespace longhand::api
