// Answers that are held to a target of words, and led out of loops.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/text/word_counter.h"
#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using ::testing::AnyOf;

const std::string kDemo = std::string(LONGHAND_TEST_DATA) + "/../../demo/model";

// Half of these prompts name no length, and one names another: the target holds all the same.
TEST(Length, AnAnswerHasTheWordsOfItsTarget) {
  LocalCluster cluster(kDemo, {"--tensor-parallel-size", "2"});
  const WordCounter counter;
  struct Case {
    const char* prompt;
    int64_t target_words;
  };
  for (const auto& [prompt, target_words] :
       {Case{"Write a 300-word story about the harbour.", 300},
        Case{"Write a 150-word story about the harbour.", 420},
        Case{"Write a story about the market.", 60}, Case{"Write a story about the mill.", 500},
        Case{"写一篇200字的文章，主题是海港。", 200}, Case{"写一篇文章，主题是海港。", 350}}) {
    SCOPED_TRACE(prompt);
    v1::GenerateRequest request = TextRequest(prompt, 1);
    request.mutable_sampling()->clear_max_tokens();
    request.mutable_length()->set_target_words(target_words);
    const Answer answer = cluster.Generate(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    const v1::GenerateEvent& last = answer.events.back();
    EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_STOP);
    EXPECT_THAT(last.finish_detail(), AnyOf("eos", "target_reached"));
    EXPECT_EQ(last.length().target_words(), target_words);
    EXPECT_EQ(last.length().words(), counter.Count(answer.text));
    EXPECT_GE(last.length().words(), target_words * 95 / 100 - 1) << answer.text;
    EXPECT_LE(last.length().words(), target_words * 106 / 100 + 1) << answer.text;
    EXPECT_GT(last.length().score(), 97);
  }
}

// What was there is made likelier each time: nothing leads out for long.
TEST(RepetitionGuard, EndsAnAnswerThatFallsIntoLoopsAgainAndAgain) {
  LocalCluster cluster(TestCheckpointPath(), {});
  v1::GenerateRequest request = TextRequest("Hello", 1000);
  request.mutable_sampling()->set_ignore_eos(true);
  request.mutable_sampling()->set_frequency_penalty(-2);
  request.mutable_return_()->set_token_ids(true);
  const Answer plain = cluster.Generate(request);
  ASSERT_EQ(plain.token_ids.size(), 1000u);
  request.mutable_sampling()->set_repetition_guard(true);
  const Answer guarded = cluster.Generate(request);
  ASSERT_TRUE(guarded.status.ok()) << guarded.status.error_message();
  EXPECT_EQ(guarded.events.back().finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(guarded.events.back().finish_detail(), "repetition");
  const auto longest_loop = [](const std::vector<int32_t>& ids) {
    size_t longest = 0;
    for (size_t period = 1; period <= 64; ++period) {
      for (size_t i = period, run = 0; i < ids.size(); ++i) {
        run = ids[i] == ids[i - period] ? run + 1 : 0;
        longest = std::max(longest, run);
      }
    }
    return longest;
  };
  EXPECT_GT(longest_loop(plain.token_ids), 900u);
  EXPECT_LT(longest_loop(guarded.token_ids), 70u);
  // The same again: what the guard does is a function of the tokens.
  EXPECT_EQ(cluster.Generate(request).token_ids, guarded.token_ids);
}

}  // namespace
}  // namespace longhand::e2e
