#include "coordinator/input/grammar_constraint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/testing/tokenizer_data.h"

namespace longhand::input {
namespace {

using engine::TokenConstraint;
using shim::GrammarKind;

class GrammarConstraintTest : public ::testing::Test {
 protected:
  std::shared_ptr<const engine::TokenConstraintFactory> Compile(GrammarKind kind,
                                                                const std::string& text) {
    return compiler_.Compile(kind, text).value();
  }
  int32_t IdOf(const std::string& text) const {
    return tokenizer_.Encode(text, shim::ControlTokens::kPlainText).value().at(0);
  }

  const shim::Tokenizer tokenizer_ = testing::LoadTestTokenizer();
  // A model's vocabulary may have more ids than its tokenizer, filled up to a round number.
  const int64_t vocab_size_ = tokenizer_.vocab_size() + 100;
  ConstraintCompiler compiler_{tokenizer_, vocab_size_};
};

TEST_F(GrammarConstraintTest, TheMaskIsOfTheModelsVocabulary) {
  const auto constraint = Compile(GrammarKind::kRegex, "(.|\n)*")->Create();
  const TokenConstraint::Next next = constraint->FindNext().value();
  ASSERT_EQ(static_cast<int64_t>(next.allowed.size()), (vocab_size_ + 31) / 32);
  EXPECT_TRUE(next.may_end);
  for (int64_t id = tokenizer_.vocab_size(); id < vocab_size_; ++id) {
    EXPECT_EQ(next.allowed[static_cast<size_t>(id / 32)] >> (id % 32) & 1, 0u) << id;
  }
}

TEST_F(GrammarConstraintTest, AnAnswerEndsWhereNothingFollows) {
  const auto constraint = Compile(GrammarKind::kChoice, ChoiceText({"a", "ab"}))->Create();
  ASSERT_TRUE(constraint->Append(IdOf("a")).ok());
  EXPECT_FALSE(constraint->must_end());
  EXPECT_TRUE(constraint->FindNext().value().may_end);
  ASSERT_TRUE(constraint->Append(IdOf("b")).ok());
  EXPECT_TRUE(constraint->must_end());
}

TEST_F(GrammarConstraintTest, ChoicesMayHoldWhatJsonEscapes) {
  const auto constraint = Compile(GrammarKind::kChoice, ChoiceText({"\"\n\\"}))->Create();
  for (const char* text : {"\"", "\n", "\\"}) ASSERT_TRUE(constraint->Append(IdOf(text)).ok());
  EXPECT_TRUE(constraint->must_end());
}

TEST_F(GrammarConstraintTest, WhatWasCompiledLatelyIsKnown) {
  const auto first = Compile(GrammarKind::kRegex, "a");
  EXPECT_EQ(Compile(GrammarKind::kRegex, "a"), first);
  EXPECT_NE(Compile(GrammarKind::kLark, "start: \"a\""), first);
  for (int i = 0; i < 31; ++i) {
    Compile(GrammarKind::kRegex, "b{" + std::to_string(i + 1) + "}");
    EXPECT_EQ(Compile(GrammarKind::kRegex, "a"), first) << i;
  }
  // It was used last but for one; 32 others push it out.
  for (int i = 0; i < 32; ++i) Compile(GrammarKind::kRegex, "c{" + std::to_string(i + 1) + "}");
  EXPECT_NE(Compile(GrammarKind::kRegex, "a"), first);
}

TEST_F(GrammarConstraintTest, WhatCannotBeCompiledIsRefusedEachTime) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(compiler_.Compile(GrammarKind::kRegex, "(").status().code(),
              StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace longhand::input
