#include "coordinator/api/answer_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::api {
namespace {

int64_t Room(const AnswerRoom& room) {
  const Result<int64_t> max_tokens = MaxTokensFor(room);
  EXPECT_TRUE(max_tokens.ok()) << max_tokens.status();
  return max_tokens.ok() ? *max_tokens : 0;
}

std::string Refusal(const AnswerRoom& room) {
  return std::string(MaxTokensFor(room).status().message());
}

TEST(AnswerRoom, IsWhatTheRequestSaysOrTheDefaultWithinTheContext) {
  EXPECT_EQ(Room({.num_prompt_tokens = 100, .max_model_len = 32768, .max_tokens = 7}), 7);
  EXPECT_EQ(Room({.num_prompt_tokens = 100, .max_model_len = 32768}), 8192);
  EXPECT_EQ(Room({.num_prompt_tokens = 100, .max_model_len = 4096}), 3996);
}

TEST(AnswerRoom, APromptAloneMayFillTheContext) {
  EXPECT_EQ(Room({.num_prompt_tokens = 4096, .max_model_len = 4096, .max_tokens = 0}), 0);
  EXPECT_THAT(Refusal({.num_prompt_tokens = 4097, .max_model_len = 4096, .max_tokens = 0}),
              ::testing::HasSubstr("the prompt has 4097 tokens"));
}

TEST(AnswerRoom, OfWordsIsTwoAndAHalfTokensEachAndTwoInChinese) {
  EXPECT_EQ(Room({.num_prompt_tokens = 100, .max_model_len = 32768, .target_words = 5001}), 12503);
  EXPECT_EQ(Room({.num_prompt_tokens = 100,
                  .max_model_len = 32768,
                  .target_words = 5001,
                  .is_chinese = true}),
            10002);
  EXPECT_EQ(Room({.num_prompt_tokens = 100, .max_model_len = 8192, .target_words = 5000}), 8092);
  EXPECT_EQ(Room({.num_prompt_tokens = 100,
                  .max_model_len = 8192,
                  .max_tokens = 64,
                  .target_words = 5000}),
            64);
}

TEST(AnswerRoom, NamesTheNumbersThatDoNotFit) {
  EXPECT_EQ(Refusal({.num_prompt_tokens = 4096, .max_model_len = 4096}),
            "the prompt has 4096 tokens; the context of 4096 leaves no room for an answer");
  EXPECT_EQ(Refusal({.num_prompt_tokens = 100, .max_model_len = 4096, .max_tokens = 3997}),
            "the prompt has 100 tokens and max_tokens is 3997; together they must fit the context "
            "of 4096");
  EXPECT_EQ(Refusal({.num_prompt_tokens = 100, .max_model_len = 4096, .target_words = 8000}),
            "target_words is 8000; the prompt has 100 tokens, and the context of 4096 leaves 3996, "
            "less than half a token for each word");
  for (const int64_t words : {int64_t{-1}, int64_t{1'000'001}}) {
    EXPECT_EQ(Refusal({.num_prompt_tokens = 1, .max_model_len = 10, .target_words = words}),
              "target_words is " + std::to_string(words) + "; it must be from 1 to 1000000");
  }
}

TEST(AnswerRoom, TheLatestMessageSaysWhetherChineseIsAsked) {
  v1::GenerateRequest request;
  EXPECT_FALSE(AsksInChinese(request));
  v1::ChatMessages* chat = request.mutable_messages();
  EXPECT_FALSE(AsksInChinese(request));
  chat->add_messages()->add_content()->set_text("Write about the sea.");
  EXPECT_FALSE(AsksInChinese(request));
  v1::ChatMessage* latest = chat->add_messages();
  latest->add_content()->mutable_image();
  latest->add_content()->set_text("写一篇5000字的文章，about GPU");
  EXPECT_TRUE(AsksInChinese(request));
  request.set_text("Translate 海 into English");
  EXPECT_FALSE(AsksInChinese(request));
  request.set_text("海");
  EXPECT_TRUE(AsksInChinese(request));
}

}  // namespace
}  // namespace longhand::api
