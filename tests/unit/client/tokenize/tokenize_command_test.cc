#include "client/tokenize/tokenize_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "tests/testing/tokenizer_data.h"

namespace longhand::client {
namespace {

using ::longhand::testing::TokenizerData;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  Status status;
  std::string out;
};

Outcome TokenizeLines(const std::string& lines) {
  std::istringstream in(lines);
  std::ostringstream out;
  Status status = Tokenize({.model = TokenizerData()}, in, out);
  return {std::move(status), out.str()};
}

TEST(TokenizeCommand, EachLineGetsItsIds) {
  const Outcome outcome =
      TokenizeLines("{\"text\": \"<|im_end|>\"}\n{\"text\":\"\"}\n{\"text\":\"12\",\"n\":0}");
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.out, "{\"ids\":[1026]}\n{\"ids\":[]}\n{\"ids\":[16,17]}\n");
}

TEST(TokenizeCommand, BlankLinesAreSkippedAndCounted) {
  const Outcome outcome = TokenizeLines("\n \t\r\n{\"text\":\"1\"}\r\nnonsense\n");
  EXPECT_EQ(outcome.out, "{\"ids\":[16]}\n");
  EXPECT_THAT(outcome.status.message(), StartsWith("line 4: not JSON"));
}

TEST(TokenizeCommand, MalformedUtf8CountsAsReplacementCharacters) {
  EXPECT_EQ(TokenizeLines("{\"text\":\"a\xFF\xE4\xB8\"}").out,
            TokenizeLines("{\"text\":\"a\\ufffd\\ufffd\"}").out);
}

TEST(TokenizeCommand, ALineThatHasNoTextIsNamed) {
  for (const char* line : {"[]", "3", "{}", "{\"text\":3}", "{\"txt\":\"a\"}"}) {
    const Outcome outcome = TokenizeLines("{\"text\":\"1\"}\n" + std::string(line));
    EXPECT_EQ(outcome.status.code(), StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(outcome.status.message(), StartsWith("line 2: found " + std::string(line)));
    EXPECT_EQ(outcome.out, "{\"ids\":[16]}\n");
  }
}

TEST(TokenizeCommand, AMissingCheckpointIsNamed) {
  std::istringstream in;
  std::ostringstream out;
  const Status status = Tokenize({.model = "/no/such/checkpoint"}, in, out);
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("/no/such/checkpoint/tokenizer.json"));
}

}  // namespace
}  // namespace longhand::client
