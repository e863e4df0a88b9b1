#include "client/eval/judgement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/eval/lenient_json.h"

namespace longhand::client {
namespace {

using ::testing::HasSubstr;

std::string Reply(std::string_view score) {
  std::string reply = "{\"Analysis\": \"good\"";
  for (const std::string_view dimension : kDimensions)
    reply += ", \"" + std::string(dimension) + "\": " + std::string(score);
  return reply + "}";
}

TEST(Judgement, QualityGoesFromNothingToAHundred) {
  EXPECT_DOUBLE_EQ(ParseJudgement(Reply("1"))->Quality(), 0);
  EXPECT_DOUBLE_EQ(ParseJudgement(Reply("3"))->Quality(), 50);
  EXPECT_DOUBLE_EQ(ParseJudgement(Reply("5"))->Quality(), 100);
  EXPECT_EQ(ParseJudgement(Reply("5"))->analysis, "good");
}

TEST(Judgement, AScoreIsAWholeNumberFromOneToFive) {
  EXPECT_TRUE(ParseJudgement(Reply("4.0")).ok());
  for (const char* wrong : {"\"4\"", "0", "6", "4.5", "true", "null", "[4]"})
    EXPECT_FALSE(ParseJudgement(Reply(wrong)).ok()) << wrong;
  EXPECT_THAT(ParseJudgement("{\"Relevance\": 3}").status().message(), HasSubstr("Accuracy"));
}

// What judges send, though they are asked for JSON.
TEST(Judgement, RepliesNeedNotBeStrictJson) {
  const std::string strict = Reply("4");
  std::string python = strict;
  for (char& c : python)
    if (c == '"') c = '\'';
  std::string bare = strict;
  bare.erase(std::remove(bare.begin() + 20, bare.end(), '"'), bare.end());
  std::string trailing = strict;
  trailing.insert(trailing.size() - 1, ",\n");
  for (const std::string& reply :
       {"```json\n" + strict + "\n```", "Here it is: " + strict + " Good luck!", python, bare,
        trailing, "{/* scores */" + strict.substr(1)}) {
    const Result<Judgement> judgement = ParseJudgement(reply);
    ASSERT_TRUE(judgement.ok()) << reply << ": " << judgement.status();
    EXPECT_DOUBLE_EQ(judgement->Quality(), 75);
  }
}

TEST(LenientJson, StringsMayHaveRawNewlinesAndEscapesOfEitherKind) {
  const Result<boost::json::object> object =
      ParseLenientObject("{'a': 'it\\'s\none\\u00e9\\ud83d\\ude00\\x41', b: [1, 2.5, None,],}");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(object->at("a").get_string(), "it's\noneé😀A");
  EXPECT_EQ(boost::json::serialize(object->at("b")), "[1,2.5E0,null]");
}

TEST(LenientJson, WhatIsNoObjectIsRefused) {
  for (const char* wrong :
       {"", "no", "{", "}{", "{'a'}", "{'a': }", "{'a': 1 'b': 2}", "{'a': 'b}", "{'a': x}"})
    EXPECT_FALSE(ParseLenientObject(wrong).ok()) << wrong;
  EXPECT_FALSE(ParseLenientObject("{a:" + std::string(100000, '[') + "}").ok());
}

}  // namespace
}  // namespace longhand::client
