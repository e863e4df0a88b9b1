#include "shim/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tokenizer_data.h"

namespace longhand::shim {
namespace {

using ::longhand::testing::Ids;
using ::longhand::testing::LoadTestTokenizer;
using ::longhand::testing::ReadJsonLines;
using ::longhand::testing::ReadText;
using ::longhand::testing::TempDirectory;
using ::longhand::testing::Text;
using ::longhand::testing::TokenizerData;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Python's base64 has no inverse in Boost or the standard library that is worth a dependency.
std::string FromBase64(std::string_view text) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text.substr(0, text.find('='))) {
    bits = (bits << 6) | static_cast<uint32_t>(kDigits.find(c));
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes.push_back(static_cast<char>(bits >> num_bits));
  }
  return bytes;
}

std::vector<int32_t> Encoded(const Tokenizer& tokenizer,
                             std::string_view text,
                             ControlTokens control_tokens) {
  Result<std::vector<int32_t>> ids = tokenizer.Encode(text, control_tokens);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

TEST(Tokenizer, EveryRecordedTextGetsTheIdsOfTheReference) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  int num_checked = 0;
  for (const auto& line : ReadJsonLines(TokenizerData() / "cases.jsonl")) {
    if (line.at("kind") == "encode") {
      const std::string text = Text(line.at("text"));
      EXPECT_EQ(Encoded(tokenizer, text, ControlTokens::kParse), Ids(line.at("ids"))) << text;
      EXPECT_EQ(Encoded(tokenizer, text, ControlTokens::kPlainText), Ids(line.at("plain_ids")))
          << text;
      ++num_checked;
    } else if (line.at("kind") == "bytes") {
      const std::string bytes = FromBase64(Text(line.at("base64")));
      EXPECT_EQ(Encoded(tokenizer, bytes, ControlTokens::kParse), Ids(line.at("ids")))
          << line.at("base64");
      ++num_checked;
    }
  }
  EXPECT_GE(num_checked, 200);
}

TEST(Tokenizer, SpeltControlTokensAreTextWhereTheyAreLiteral) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const int32_t end = *tokenizer.IdOf("<|im_end|>");
  const std::string text = "a<|im_end|>b<|im_end|>";
  const std::vector<ByteRange> literal = {{0, 12}};  // all but the second token
  const Result<std::vector<int32_t>> ids = tokenizer.EncodeAround(text, literal);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(std::count(ids->begin(), ids->end(), end), 1);
  EXPECT_EQ(ids->back(), end);
}

TEST(Tokenizer, NoControlTokenSpansASeamOrReachesIntoLiteralText) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const std::string text = "<|im_end|>";
  const std::vector<int32_t> plain = Encoded(tokenizer, text, ControlTokens::kPlainText);
  for (const ByteRange range : {ByteRange{5, 5}, ByteRange{9, 10}, ByteRange{0, 1}}) {
    const Result<std::vector<int32_t>> ids = tokenizer.EncodeAround(text, {{range}});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, plain) << range.begin << " to " << range.end;
  }
}

TEST(Tokenizer, LiteralRangesThatDoNotFitTheTextAreRefused) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const std::vector<std::vector<ByteRange>> wrong = {{{0, 9}}, {{2, 1}}, {{0, 2}, {1, 3}},
                                                     {{1, 2}}, {{0, 1}}, {{SIZE_MAX, SIZE_MAX}}};
  for (const auto& literal : wrong) {
    const auto ids = tokenizer.EncodeAround("\u00e9\u00e9", literal);
    EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument) << literal[0].begin;
  }
}

TEST(Tokenizer, TheTableGivesTheBytesOfEachId) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const int32_t end = *tokenizer.IdOf("<|im_end|>");
  const int32_t call = *tokenizer.IdOf("<tool_call>");
  const int32_t space = *tokenizer.IdOf("\u0120");  // byte-level BPE's spelling of a space
  EXPECT_EQ(tokenizer.TokenBytes(end), "<|im_end|>");
  EXPECT_EQ(tokenizer.TokenBytes(space), " ");
  EXPECT_TRUE(tokenizer.IsSpecial(end));
  EXPECT_FALSE(tokenizer.IsSpecial(call));
  EXPECT_FALSE(tokenizer.IsSpecial(space));
  EXPECT_EQ(tokenizer.vocab_size(), 1024 + 22);
  EXPECT_FALSE(tokenizer.IdOf("<|no such token|>").has_value());
}

TEST(Tokenizer, IdsOutsideTheVocabularyHaveNoBytes) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  for (const int32_t id : {-1, tokenizer.vocab_size(), INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer.TokenBytes(id), "");
    EXPECT_FALSE(tokenizer.IsSpecial(id));
  }
}

// The pre-tokenizer's pattern gives up on it.
TEST(Tokenizer, AnEndlessRunOfSpacesIsRefused) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const auto ids = tokenizer.Encode(std::string(12 << 20, ' '), ControlTokens::kParse);
  EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument) << ids.status();
  EXPECT_THAT(ids.status().message(), HasSubstr("run of over a million alike characters"));
}

TEST(Tokenizer, ThreadsMayShareOne) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const auto lines = ReadJsonLines(TokenizerData() / "cases.jsonl");
  std::vector<std::thread> threads;
  std::vector<int> num_wrong(4, 0);
  for (size_t i = 0; i < num_wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (const auto& line : lines) {
        if (line.at("kind") != "encode") continue;
        const auto ids = tokenizer.Encode(Text(line.at("text")), ControlTokens::kParse);
        num_wrong[i] += !ids.ok() || *ids != Ids(line.at("ids"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(num_wrong, ElementsAre(0, 0, 0, 0));
}

TEST(Tokenizer, AMissingFileIsNamed) {
  const TempDirectory directory;
  const Status status = Tokenizer::Load(directory.path()).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr((directory / "tokenizer.json").string()));
}

struct Fault {
  std::string file;
  std::string from;  // replaced in the file, once
  std::string to;
  StatusCode code;
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const Fault& fault) {
  return out << fault.file << " with " << fault.to << " for " << fault.from;
}

class FaultyTokenizer : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyTokenizer, IsRefusedNamingFileAndFault) {
  const Fault& fault = GetParam();
  const TempDirectory directory;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    std::string content = ReadText(TokenizerData() / name);
    if (name == fault.file) {
      const size_t at = content.find(fault.from);
      ASSERT_NE(at, std::string::npos) << fault.from;
      content.replace(at, fault.from.size(), fault.to);
    }
    directory.Write(name, content);
  }
  const Status status = Tokenizer::Load(directory.path()).status();
  EXPECT_EQ(status.code(), fault.code) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr(directory.path().string()),
                                      HasSubstr(fault.file + ": "), HasSubstr(fault.message)));
}

INSTANTIATE_TEST_SUITE_P(
    ,
    FaultyTokenizer,
    ::testing::Values(
        Fault{"tokenizer.json", "{", "[", StatusCode::kInvalidArgument, "line 2"},
        Fault{"tokenizer.json", "\"1.0\"", "\"9.9\"", StatusCode::kInvalidArgument, "9.9"},
        Fault{"tokenizer.json", "\"BPE\"", "\"Oracle\"", StatusCode::kInvalidArgument,
              "model (type \"Oracle\")"},
        Fault{"tokenizer.json", "\"NFC\"", "\"NFX\"", StatusCode::kInvalidArgument,
              "normalizer (type \"NFX\")"},
        Fault{"tokenizer.json", "(?!\\\\S)", "(?!\\\\S", StatusCode::kInvalidArgument,
              "unmatched parenthesis"},
        Fault{"tokenizer.json", "\"id\": 1025", "\"id\": 4025", StatusCode::kInvalidArgument,
              "\"<|im_start|>\" has id 4025, but the vocabulary puts it at 1025"},
        Fault{"tokenizer.json", "\"dropout\": null", "\"dropout\": 0.1", StatusCode::kUnimplemented,
              "dropout"},
        Fault{"tokenizer.json", "\"decoder\": {\n  \"type\": \"ByteLevel\"",
              "\"decoder\": {\n  \"type\": \"Fuse\"", StatusCode::kUnimplemented, "ByteLevel"},
        Fault{"tokenizer_config.json", "{", "", StatusCode::kInvalidArgument, "line 2"},
        Fault{"tokenizer_config.json", "\"1026\": {", "\"7\": {", StatusCode::kInvalidArgument,
              "\"<|im_end|>\" has id 7, but the vocabulary puts it at 1026"}));

// Some checkpoints name an added token only in the second file.
TEST(Tokenizer, AddedTokensOfTheConfigCountToo) {
  const TempDirectory directory;
  std::string tokenizer = ReadText(TokenizerData() / "tokenizer.json");
  const size_t begin = tokenizer.find("  {\n   \"id\": 1045");
  const size_t end = tokenizer.find('}', begin);
  ASSERT_NE(begin, std::string::npos);
  tokenizer.erase(tokenizer.rfind(',', begin), end + 1 - tokenizer.rfind(',', begin));
  directory.Write("tokenizer.json", tokenizer);
  directory.Write("tokenizer_config.json", ReadText(TokenizerData() / "tokenizer_config.json"));
  const Result<Tokenizer> loaded = Tokenizer::Load(directory.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(Encoded(*loaded, "<|file_sep|>", ControlTokens::kParse), ElementsAre(1045));
}

TEST(Tokenizer, WorksWithoutTheConfig) {
  const TempDirectory directory;
  directory.Write("tokenizer.json", ReadText(TokenizerData() / "tokenizer.json"));
  const Result<Tokenizer> loaded = Tokenizer::Load(directory.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Encoded(*loaded, "<|im_end|>", ControlTokens::kParse).size(), 1u);
}

}  // namespace
}  // namespace longhand::shim
