#include "coordinator/input/text_state.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/testing/tokenizer_data.h"

namespace longhand::input {
namespace {

using ::longhand::testing::LoadTestTokenizer;

class TextStateTest : public ::testing::Test {
 protected:
  std::unique_ptr<engine::TextState> Create(const std::vector<std::string>& stops,
                                            int64_t target_words = 0) const {
    return factory_.Create(stops, target_words);
  }
  std::vector<int32_t> Ids(std::string_view text) const {
    return *tokenizer_.Encode(text, shim::ControlTokens::kParse);
  }

  const shim::Tokenizer tokenizer_ = LoadTestTokenizer();
  const TextStateOfAnswerFactory factory_{tokenizer_};
};

TEST_F(TextStateTest, TheAnswerEndsBeforeTheStopString) {
  const auto state = Create({"\u7b2c\u4e8c\u8282"});
  std::string text;
  std::string stop;
  for (const int32_t id : Ids("one \u7b2c\u4e00\u8282 two \u7b2c\u4e8c\u8282 three")) {
    const engine::TextState::Delta delta = state->Append(id);
    text += delta.text;
    if (delta.stop_string.has_value()) stop = *delta.stop_string;
  }
  text += state->Finish();
  EXPECT_EQ(text, "one \u7b2c\u4e00\u8282 two ");
  EXPECT_EQ(stop, "\u7b2c\u4e8c\u8282");
}

TEST_F(TextStateTest, SpecialTokensHaveNoTextAndMatchNoStopString) {
  const auto state = Create({"<|im_end|>"});
  for (const int32_t id : Ids("<|im_end|>")) {
    const engine::TextState::Delta delta = state->Append(id);
    EXPECT_EQ(delta.text, "");
    EXPECT_FALSE(delta.stop_string.has_value());
  }
}

TEST_F(TextStateTest, AnAnswerWithATargetEndsWithItsSentence) {
  const auto state = Create({}, 4);
  EXPECT_TRUE(state->is_short());
  std::string text;
  bool reached = false;
  for (const int32_t id : Ids("One two. Three four. Five six. Seven")) {
    const engine::TextState::Delta delta = state->Append(id);
    text += delta.text;
    EXPECT_FALSE(reached && !delta.text.empty());
    reached |= delta.target_reached;
  }
  EXPECT_TRUE(reached);
  EXPECT_EQ(text, "One two. Three four.");
  EXPECT_EQ(state->num_words(), 4);
  EXPECT_FALSE(state->is_short());
}

TEST_F(TextStateTest, ATargetBeforeAStopStringEndsTheAnswer) {
  const auto state = Create({" Three"}, 2);
  bool reached = false;
  for (const int32_t id : Ids("One two. Three")) {
    const engine::TextState::Delta delta = state->Append(id);
    EXPECT_FALSE(reached && delta.stop_string.has_value());
    reached |= delta.target_reached;
  }
  // The stop string was held back until it was whole: it comes first.
  EXPECT_FALSE(reached);
}

TEST_F(TextStateTest, FinishReleasesAHeldPrefix) {
  const auto state = Create({"yes!"});
  std::string text;
  for (const int32_t id : Ids("oh yes")) text += state->Append(id).text;
  EXPECT_EQ(text, "oh ");
  EXPECT_EQ(state->Finish(), "yes");
}

TEST_F(TextStateTest, FinishReleasesHalfACharacterBehindAHeldPrefix) {
  const auto state = Create({"yes!"});
  std::string text;
  for (const int32_t id : Ids("oh yes")) text += state->Append(id).text;
  EXPECT_EQ(text, "oh ");
  const int32_t lead_byte = *tokenizer_.IdOf("\u00e4");  // spells the byte E4
  text += state->Append(lead_byte).text;
  EXPECT_EQ(text + state->Finish(), "oh yes\uFFFD");
}

TEST_F(TextStateTest, AStopStringMayMatchTheReplacementAtTheEnd) {
  const auto state = Create({"\uFFFD"});
  EXPECT_EQ(state->Append(*tokenizer_.IdOf("\u00e4")).text, "");
  EXPECT_EQ(state->Finish(), "");
}

}  // namespace
}  // namespace longhand::input
