#include "coordinator/input/prompt_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tokenizer_data.h"

namespace longhand::input {
namespace {

using ::longhand::testing::Ids;
using ::longhand::testing::LoadTestTokenizer;
using ::longhand::testing::ReadJsonLines;
using ::longhand::testing::TempDirectory;
using ::longhand::testing::Text;
using ::longhand::testing::TokenizerData;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ChatMessage FromJson(const boost::json::object& json) {
  ChatMessage message{.role = Text(json.at("role"))};
  if (json.at("content").is_string()) {
    message.parts.push_back({.text = Text(json.at("content"))});
    return message;
  }
  for (const auto& part : json.at("content").as_array()) {
    const bool is_image = part.at("type") == "image";
    message.parts.push_back({is_image, is_image ? "" : Text(part.at("text"))});
  }
  return message;
}

ChatPrompt UserSays(std::string text) {
  return {.messages = {{.role = "user", .parts = {{.text = std::move(text)}}}}};
}

class PromptEncoderTest : public ::testing::Test {
 protected:
  PromptEncoder::Limits Limits() const {
    return {.vocab_size = 1100,
            .video_token_id = *tokenizer_.IdOf("<|video_pad|>"),
            .max_model_len = 4096};
  }
  // The message of the refusal.
  std::string Refusal(const PromptInput& input, size_t num_images = 0) const {
    const auto ids = PromptEncoder(tokenizer_, chat_template_, Limits()).Encode(input, num_images);
    return ids.ok() ? "" : ids.status().message();
  }

  const shim::Tokenizer tokenizer_ = LoadTestTokenizer();
  const shim::ChatTemplate chat_template_ =
      std::move(shim::ChatTemplate::Load(TokenizerData())).value();
};

TEST_F(PromptEncoderTest, RecordedChatsGetTheIdsOfTheReference) {
  const PromptEncoder encoder(tokenizer_, chat_template_, Limits());
  for (const auto& line : ReadJsonLines(TokenizerData() / "chats.jsonl")) {
    ChatPrompt chat{.add_vision_id = line.at("add_vision_id").as_bool()};
    size_t num_images = 0;
    for (const auto& message : line.at("messages").as_array()) {
      chat.messages.push_back(FromJson(message.as_object()));
      for (const ContentPart& part : chat.messages.back().parts) num_images += part.is_image;
    }
    const auto ids = encoder.Encode(chat, num_images);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, Ids(line.at("safe_ids"))) << line.at("messages");
  }
}

TEST_F(PromptEncoderTest, RawTextMaySpellControlTokens) {
  const PromptEncoder encoder(tokenizer_, chat_template_, Limits());
  const auto ids = encoder.Encode(TextPrompt{"<|im_start|>user"}, 0);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->front(), *tokenizer_.IdOf("<|im_start|>"));
}

TEST_F(PromptEncoderTest, TokenIdsPassAsTheyAre) {
  const PromptEncoder encoder(tokenizer_, chat_template_, Limits());
  const auto ids = encoder.Encode(TokenPrompt{{5, 1099, 7}}, 0);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, ElementsAre(5, 1099, 7));
}

TEST_F(PromptEncoderTest, BadRequestsAreRefusedWithWhatWasSeen) {
  EXPECT_THAT(Refusal(ChatPrompt{}), HasSubstr("messages is empty"));
  ChatPrompt robot = UserSays("hi");
  robot.messages[0].role = "<|im_start|>";
  EXPECT_THAT(Refusal(robot), HasSubstr("message 0 has the role \"<|im_start|>\""));
  EXPECT_THAT(Refusal(UserSays("hi"), 2), HasSubstr("0 image parts, but the request has 2"));
  EXPECT_THAT(Refusal(TextPrompt{""}), HasSubstr("the prompt is empty"));
  EXPECT_THAT(Refusal(TokenPrompt{}), HasSubstr("the prompt is empty"));
  EXPECT_THAT(Refusal(TokenPrompt{{1, 1100}}), HasSubstr("token id 1 of the prompt is 1100"));
  EXPECT_THAT(Refusal(TokenPrompt{{-1}}), HasSubstr("[0, 1100)"));
  EXPECT_THAT(Refusal(TextPrompt{"<|video_pad|>"}), HasSubstr("videos are not supported"));
}

// Every token of the tests' tokenizer from 500 on.
TEST_F(PromptEncoderTest, TokensThatTheEmbeddingHasNoRowForAreRefused) {
  PromptEncoder::Limits limits = Limits();
  limits.vocab_size = 500;
  const PromptEncoder encoder(tokenizer_, chat_template_, limits);
  for (const PromptInput& input :
       {PromptInput(UserSays("hi")), PromptInput(TextPrompt{"<|im_start|>"})}) {
    EXPECT_THAT(encoder.Encode(input, 0).status().message(), HasSubstr("it must be in [0, 500)"));
  }
}

TEST_F(PromptEncoderTest, APromptOverTheContextIsRefusedNamingBothNumbers) {
  std::string text;
  for (int i = 0; i < 4097; ++i) text += "1";  // each digit is a token
  EXPECT_THAT(Refusal(TextPrompt{text}), HasSubstr("4097 tokens; the context holds 4096"));
  EXPECT_THAT(Refusal(TextPrompt{std::string(10 << 20, 'x')}), HasSubstr("10485760 bytes"));
  EXPECT_THAT(Refusal(UserSays(std::string(10 << 20, 'x'))), HasSubstr("bytes; at most"));
  EXPECT_THAT(Refusal(TextPrompt{std::string(100000, '7')}),
              HasSubstr("100000 bytes, of which the first 65536 alone are 65536 tokens"));
  EXPECT_THAT(Refusal(UserSays(std::string(100000, '7'))), HasSubstr("alone are 65536 tokens"));
}

// A beginning with few tokens says nothing about what follows, and to encode that takes as long.
TEST_F(PromptEncoderTest, APromptOverTheContextIsRefusedBeforeItsEndHoweverItBegins) {
  const std::string few(65536, ' ');
  ASSERT_LE(tokenizer_.Encode(few, shim::ControlTokens::kPlainText)->size(), 4096u);
  EXPECT_THAT(Refusal(TextPrompt{few + std::string(200000, '7')}),
              HasSubstr("265536 bytes, of which the first 131072 alone are"));
}

TEST_F(PromptEncoderTest, MoreMessagesThanTokensAreRefusedBeforeTheyAreRendered) {
  ChatPrompt many;
  many.messages.assign(3000, UserSays("").messages[0]);
  EXPECT_THAT(Refusal(many),
              HasSubstr("3000 messages with 3000 parts; the context holds 4096 tokens"));
}

// Such a template cannot be marked; text without "<" is harmless under it, other text is refused.
TEST_F(PromptEncoderTest, UnderATemplateThatChangesTextOnlyHarmlessTextPasses) {
  const TempDirectory directory;
  directory.Write("chat_template.jinja", "<|im_start|>{{ messages[0].content[:5] }}");
  const auto chat_template = shim::ChatTemplate::Load(directory.path());
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  const PromptEncoder encoder(tokenizer_, *chat_template, Limits());
  const auto ids = encoder.Encode(UserSays("a long text"), 0);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->front(), *tokenizer_.IdOf("<|im_start|>"));
  EXPECT_THAT(encoder.Encode(UserSays("a < b and more"), 0).status().message(),
              HasSubstr("cannot be told apart"));
}

}  // namespace
}  // namespace longhand::input
