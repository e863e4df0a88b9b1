#include "common/agent_write/outline_grammar.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "common/agent_write/outline.h"
#include "shim/grammar.h"
#include "tests/testing/tokenizer_data.h"

namespace longhand {
namespace {

class OutlineGrammarTest : public ::testing::Test {
 protected:
  shim::GrammarMatcher Matcher() const { return grammar_.CreateMatcher().value(); }
  std::vector<int32_t> Allowed(shim::GrammarMatcher& matcher) const {
    std::vector<uint32_t> mask(static_cast<size_t>(tokenizer_.vocab_size() + 31) / 32);
    EXPECT_TRUE(matcher.Allowed(mask).ok());
    std::vector<int32_t> ids;
    for (int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
      if ((mask[static_cast<size_t>(id / 32)] >> (id % 32) & 1) != 0) ids.push_back(id);
    }
    return ids;
  }
  bool Fits(const std::string& plan) const {
    shim::GrammarMatcher matcher = Matcher();
    const std::vector<int32_t> ids =
        tokenizer_.Encode(plan, shim::ControlTokens::kPlainText).value();
    for (const int32_t id : ids) {
      if (!matcher.Append(id).ok()) return false;
    }
    return matcher.AtEnd().value().is_complete;
  }

  const shim::Tokenizer tokenizer_ = testing::LoadTestTokenizer();
  const shim::Grammar grammar_ = shim::GrammarCompiler::Create(tokenizer_)
                                     .value()
                                     .Compile(shim::GrammarKind::kLark, OutlineGrammar())
                                     .value();
};

TEST_F(OutlineGrammarTest, PlansOfTheFormFit) {
  EXPECT_TRUE(Fits("Section 1 - Main Point: the mill - Word Count: 200"));
  EXPECT_TRUE(
      Fits("Section 1 - Main Point: the mill - Word Count: 200 words\n"
           "Section 2 - Main Point: as in Section 1 - Word Count: 1,200"));
  EXPECT_TRUE(
      Fits("**Section 1: 灯塔 – Word Count：about 300字**\n\n### Section 2 – x – Word Count 9"));
  EXPECT_FALSE(Fits("Section 1 - Main Point: the mill"));
  EXPECT_FALSE(Fits("Section 2 - Main Point: the mill - Word Count: 200"));
  EXPECT_FALSE(Fits("Section 1 - Main Point: the mill - Word Count: 0"));
  EXPECT_FALSE(Fits("Section 1 - Main Point: the mill - Word Count: 90000"));
}

// Whatever a model that is at a loss would write.
TEST_F(OutlineGrammarTest, EveryTextThatItAllowsCanBeRead) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    shim::GrammarMatcher matcher = Matcher();
    std::string plan;
    for (shim::GrammarMatcher::End end; !end.must_end; end = matcher.AtEnd().value()) {
      if (end.is_complete && random() % 8 == 0) break;
      const std::vector<int32_t> ids = Allowed(matcher);
      ASSERT_FALSE(ids.empty()) << "seed " << seed << ": " << plan;
      const int32_t id = ids[random() % ids.size()];
      ASSERT_TRUE(matcher.Append(id).ok());
      plan += tokenizer_.TokenBytes(id);
    }
    const auto outline = ParseOutline(plan);
    EXPECT_TRUE(outline.ok()) << "seed " << seed << ": " << outline.status() << "\n" << plan;
  }
}

}  // namespace
}  // namespace longhand
