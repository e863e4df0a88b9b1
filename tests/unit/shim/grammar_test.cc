#include "shim/grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing/tokenizer_data.h"

namespace longhand::shim {
namespace {

using ::longhand::testing::LoadTestTokenizer;
using ::testing::HasSubstr;

class GrammarTest : public ::testing::Test {
 protected:
  Result<Grammar> Compile(GrammarKind kind, std::string_view text) {
    return compiler_.Compile(kind, text);
  }
  GrammarMatcher Matcher(GrammarKind kind, std::string_view text) {
    const Result<Grammar> grammar = Compile(kind, text);
    LONGHAND_CHECK(grammar.ok()) << text << ": " << grammar.status();
    Result<GrammarMatcher> matcher = grammar->CreateMatcher();
    LONGHAND_CHECK(matcher.ok()) << matcher.status();
    return std::move(matcher).value();
  }
  std::vector<uint32_t> Allowed(GrammarMatcher& matcher) const {
    std::vector<uint32_t> mask(static_cast<size_t>(tokenizer_.vocab_size() + 31) / 32);
    const Status status = matcher.Allowed(mask);
    EXPECT_TRUE(status.ok()) << status;
    return mask;
  }
  static bool Has(const std::vector<uint32_t>& mask, int32_t id) {
    return (mask[static_cast<size_t>(id / 32)] >> (id % 32) & 1) != 0;
  }
  int32_t Byte(char c) const {
    for (int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
      if (tokenizer_.TokenBytes(id) == std::string_view(&c, 1)) return id;
    }
    LONGHAND_CHECK(false) << "no token is the byte " << c;
    return -1;
  }
  // Whether the text may be a whole answer, written byte by byte; each byte has to be in the mask.
  bool Matches(GrammarKind kind, std::string_view text, std::string_view answer) {
    GrammarMatcher matcher = Matcher(kind, text);
    for (const char c : answer) {
      const int32_t id = Byte(c);
      if (!Has(Allowed(matcher), id)) return false;
      EXPECT_TRUE(matcher.Append(id).ok()) << answer;
    }
    return matcher.AtEnd().value().is_complete;
  }
  // What compiling says of a grammar that it refuses.
  std::string Refusal(GrammarKind kind, std::string_view text) {
    const Result<Grammar> grammar = Compile(kind, text);
    EXPECT_EQ(grammar.status().code(), StatusCode::kInvalidArgument) << text.substr(0, 200);
    return grammar.ok() ? "" : grammar.status().message();
  }

  const Tokenizer tokenizer_ = LoadTestTokenizer();
  const GrammarCompiler compiler_ = GrammarCompiler::Create(tokenizer_).value();
};

TEST_F(GrammarTest, AnswersOfASchemaMatchAndOthersDoNot) {
  constexpr std::string_view kSchema = R"({"type": "object", "properties": {
      "name": {"type": "string", "maxLength": 5}, "size": {"type": "integer", "minimum": 2}},
      "required": ["name", "size"], "additionalProperties": false})";
  const auto matches = [&](std::string_view answer) {
    return Matches(GrammarKind::kJsonSchema, kSchema, answer);
  };
  EXPECT_TRUE(matches(R"({"name": "sea", "size": 12})"));
  EXPECT_FALSE(matches("{\n  \"name\": \"sea\",\n  \"size\": 12\n}"));
  EXPECT_FALSE(matches(R"({"name": "sea"})"));
  EXPECT_FALSE(matches(R"({"name": "sea", "size": 1})"));
  EXPECT_FALSE(matches(R"({"name": "seaside", "size": 2})"));
  EXPECT_FALSE(matches(R"({"name": "sea", "size": 12, "more": 1})"));
}

TEST_F(GrammarTest, AnyObjectOfJsonMatchesJsonObject) {
  const auto matches = [&](std::string_view answer) {
    return Matches(GrammarKind::kJsonObject, "", answer);
  };
  EXPECT_TRUE(matches(R"({"a": [1, {"b": null}]})"));
  EXPECT_FALSE(matches("[1]"));
  EXPECT_FALSE(matches(R"({"a":1)"));
}

TEST_F(GrammarTest, ARegexMatchesTheWholeAnswer) {
  EXPECT_TRUE(Matches(GrammarKind::kRegex, "[ab]+c", "abac"));
  EXPECT_FALSE(Matches(GrammarKind::kRegex, "[ab]+c", "aba"));
  EXPECT_FALSE(Matches(GrammarKind::kRegex, "[ab]+c", "xabc"));
  EXPECT_TRUE(Matches(GrammarKind::kRegex, "^a/b$", "a/b"));
  EXPECT_TRUE(Matches(GrammarKind::kRegex, "a\\$", "a$"));
  EXPECT_TRUE(Matches(GrammarKind::kRegex, "a\nb|\"c\"", "\"c\""));
}

TEST_F(GrammarTest, AChoiceIsOneOfTheTexts) {
  constexpr std::string_view kChoices = R"(["yes", "no \"way\"", "日本\n/x/"])";
  EXPECT_TRUE(Matches(GrammarKind::kChoice, kChoices, "yes"));
  EXPECT_TRUE(Matches(GrammarKind::kChoice, kChoices, "no \"way\""));
  EXPECT_TRUE(Matches(GrammarKind::kChoice, kChoices, "日本\n/x/"));
  EXPECT_FALSE(Matches(GrammarKind::kChoice, kChoices, "ye"));
  EXPECT_FALSE(Matches(GrammarKind::kChoice, kChoices, "yes!"));
}

TEST_F(GrammarTest, ALarkGrammarMayRecurse) {
  constexpr std::string_view kGrammar = "start: \"(\" start? \")\" /[0-9]{2}/\n";
  EXPECT_TRUE(Matches(GrammarKind::kLark, kGrammar, "(()12)34"));
  EXPECT_FALSE(Matches(GrammarKind::kLark, kGrammar, "(12"));
}

TEST_F(GrammarTest, TokensOfSeveralBytesAreInTheMask) {
  GrammarMatcher matcher = Matcher(GrammarKind::kChoice, R"(["the other"])");
  const std::vector<int32_t> ids =
      tokenizer_.Encode("the other", ControlTokens::kPlainText).value();
  ASSERT_LT(ids.size(), 9u);
  for (const int32_t id : ids) {
    EXPECT_TRUE(Has(Allowed(matcher), id));
    ASSERT_TRUE(matcher.Append(id).ok());
  }
  EXPECT_TRUE(matcher.AtEnd().value().must_end);
}

TEST_F(GrammarTest, SpecialTokensAreInNoMask) {
  GrammarMatcher matcher = Matcher(GrammarKind::kRegex, "(.|\n)*");
  const std::vector<uint32_t> mask = Allowed(matcher);
  for (int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
    EXPECT_FALSE(tokenizer_.IsSpecial(id) && Has(mask, id)) << tokenizer_.TokenBytes(id);
  }
  const int32_t end = tokenizer_.IdOf("<|im_end|>").value();
  EXPECT_FALSE(matcher.Append(end).ok());
  EXPECT_THAT(Refusal(GrammarKind::kLark, "start: <|im_end|>"), HasSubstr("allows no text"));
  EXPECT_THAT(Refusal(GrammarKind::kLark, "start: <[" + std::to_string(end) + "]>"),
              HasSubstr("allows no text"));
}

// The end is told only where the grammar has it, and nothing is allowed behind the last token.
TEST_F(GrammarTest, ItSaysWhereAnAnswerMayEndAndWhereItMust) {
  GrammarMatcher matcher = Matcher(GrammarKind::kRegex, "ab?c?");
  EXPECT_FALSE(matcher.AtEnd().value().is_complete);
  ASSERT_TRUE(matcher.Append(Byte('a')).ok());
  EXPECT_TRUE(matcher.AtEnd().value().is_complete);
  EXPECT_FALSE(matcher.AtEnd().value().must_end);
  ASSERT_TRUE(matcher.Append(Byte('c')).ok());
  EXPECT_TRUE(matcher.AtEnd().value().must_end);
  EXPECT_THAT(Allowed(matcher), ::testing::Each(0u));
}

TEST_F(GrammarTest, AJsonObjectEndsWithItsBrace) {
  GrammarMatcher matcher = Matcher(GrammarKind::kJsonObject, "");
  for (const char c : std::string_view("{\"a\": 1}")) ASSERT_TRUE(matcher.Append(Byte(c)).ok());
  EXPECT_TRUE(matcher.AtEnd().value().must_end);
}

TEST_F(GrammarTest, ATokenThatIsNotAllowedIsRefused) {
  GrammarMatcher matcher = Matcher(GrammarKind::kRegex, "ab");
  EXPECT_EQ(matcher.Append(Byte('b')).code(), StatusCode::kInvalidArgument);
}

TEST_F(GrammarTest, MatchersOfOneGrammarKnowNothingOfEachOther) {
  const Grammar grammar = Compile(GrammarKind::kRegex, "a+b").value();
  GrammarMatcher one = grammar.CreateMatcher().value();
  GrammarMatcher other = grammar.CreateMatcher().value();
  ASSERT_TRUE(one.Append(Byte('a')).ok());
  EXPECT_TRUE(Has(Allowed(one), Byte('b')));
  EXPECT_FALSE(Has(Allowed(other), Byte('b')));
}

TEST_F(GrammarTest, WhatIsWrongWithAGrammarIsOneSentence) {
  const std::vector<std::pair<GrammarKind, std::string>> cases = {
      {GrammarKind::kJsonSchema, "{\"type\": "},
      {GrammarKind::kJsonSchema, "[]"},
      {GrammarKind::kJsonSchema, R"({"type": "banana"})"},
      {GrammarKind::kJsonSchema, R"({"type": "object", "uniqueItems": true})"},
      {GrammarKind::kJsonSchema, R"({"$ref": "https://example.com/schema.json"})"},
      {GrammarKind::kRegex, ""},
      {GrammarKind::kRegex, "(a"},
      {GrammarKind::kRegex, "a(?=b)"},
      {GrammarKind::kChoice, "[]"},
      {GrammarKind::kChoice, R"(["a", ""])"},
      {GrammarKind::kChoice, R"({"a": 1})"},
      {GrammarKind::kLark, ""},
      {GrammarKind::kLark, "start: missing"},
      {GrammarKind::kLark, "{\"grammars\": []}"},
      {GrammarKind::kLark, "root ::= \"a\""},
  };
  for (const auto& [kind, text] : cases) {
    const std::string message = Refusal(kind, text);
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_FALSE(message.empty()) << text;
  }
}

std::string Repeated(std::string_view text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

std::string SchemaOf(int num_alternatives) {
  std::string schema = R"({"allOf": [true)";
  for (int i = 0; i < num_alternatives; ++i) {
    const std::string name = std::to_string(i);
    schema += R"(, {"anyOf": [{"properties": {"a)" + name + R"(": {"type": "string"}}}, )" +
              R"({"properties": {"b)" + name + R"(": {"type": "null"}}}]})";
  }
  return schema + "]}";
}

// Each would take minutes, gigabytes or the whole stack if it were let.
TEST_F(GrammarTest, WhatWouldCostTooMuchIsRefusedBeforeItRuns) {
  const std::vector<std::pair<GrammarKind, std::string>> cases = {
      {GrammarKind::kRegex, Repeated("(", 100'000)},
      {GrammarKind::kRegex, Repeated("(", 65) + "a" + Repeated(")*", 65)},
      {GrammarKind::kRegex, Repeated("a|b", 10'000)},
      {GrammarKind::kJsonSchema, Repeated(R"({"items":)", 100) + "{}" + Repeated("}", 100)},
      {GrammarKind::kJsonSchema, Repeated("[", 100'000)},
      {GrammarKind::kJsonSchema, SchemaOf(8)},
      {GrammarKind::kJsonSchema, SchemaOf(12)},
      {GrammarKind::kJsonSchema, SchemaOf(40)},
      {GrammarKind::kLark, "start: " + Repeated("(", 60'000) + "\"a\"" + Repeated(")", 60'000)},
      {GrammarKind::kLark, "start: " + Repeated("\"a\"|", 40'000) + "\"a\""},
      {GrammarKind::kChoice, "[" + Repeated("\"a\",", 1'024) + "\"a\"]"},
  };
  for (const auto& [kind, text] : cases) {
    EXPECT_FALSE(Refusal(kind, text).empty()) << text.substr(0, 80);
  }
}

// Of an ambiguous grammar every token costs more than the one before it, until it is too much.
TEST_F(GrammarTest, AnAnswerWhoseNextMaskCostsTooMuchIsGivenUp) {
  GrammarMatcher matcher = Matcher(GrammarKind::kLark, "start: s\ns: s s | s s s | \"a\" | \"\"\n");
  std::vector<uint32_t> mask(static_cast<size_t>(tokenizer_.vocab_size() + 31) / 32);
  Status status;
  for (int i = 0; i < 1'000 && status.ok(); ++i) {
    status = matcher.Append(Byte('a'));
    if (status.ok()) status = matcher.Allowed(mask);
  }
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("ambiguous"));
}

}  // namespace
}  // namespace longhand::shim
