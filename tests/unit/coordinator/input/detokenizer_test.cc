#include "coordinator/input/detokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing/tokenizer_data.h"

namespace longhand::input {
namespace {

using ::longhand::testing::Ids;
using ::longhand::testing::LoadTestTokenizer;
using ::longhand::testing::ReadJsonLines;
using ::longhand::testing::Text;
using ::longhand::testing::TokenizerData;

TEST(Detokenizer, EveryRecordedStreamEmitsWhatTheReferenceEmits) {
  const shim::Tokenizer tokenizer = LoadTestTokenizer();
  int num_checked = 0;
  for (const auto& line : ReadJsonLines(TokenizerData() / "cases.jsonl")) {
    if (line.at("kind") != "decode") continue;
    const std::vector<int32_t> ids = Ids(line.at("ids"));
    Detokenizer detokenizer(tokenizer, SpecialTokens::kSkip);
    std::vector<std::string> deltas;
    for (const int32_t id : ids) deltas.push_back(detokenizer.Append(id));
    deltas.push_back(detokenizer.Finish());
    EXPECT_EQ(deltas, boost::json::value_to<std::vector<std::string>>(line.at("deltas")))
        << line.at("ids");
    EXPECT_EQ(Detokenize(tokenizer, ids, SpecialTokens::kSkip), Text(line.at("shown")));
    EXPECT_EQ(Detokenize(tokenizer, ids, SpecialTokens::kKeep), Text(line.at("text")));
    ++num_checked;
  }
  EXPECT_GE(num_checked, 40);
}

TEST(Detokenizer, AddedTokensThatAreNotSpecialAreShown) {
  const shim::Tokenizer tokenizer = LoadTestTokenizer();
  const std::vector<int32_t> ids = {*tokenizer.IdOf("<tool_call>"), *tokenizer.IdOf("<|im_end|>")};
  EXPECT_EQ(Detokenize(tokenizer, ids, SpecialTokens::kSkip), "<tool_call>");
  EXPECT_EQ(Detokenize(tokenizer, ids, SpecialTokens::kKeep), "<tool_call><|im_end|>");
}

// The model's embedding has more rows than the tokenizer has ids, and they can be sampled.
TEST(Detokenizer, IdsWithoutATokenHaveNoText) {
  const shim::Tokenizer tokenizer = LoadTestTokenizer();
  const std::vector<int32_t> ids = {tokenizer.vocab_size(), -1, 1 << 30};
  EXPECT_EQ(Detokenize(tokenizer, ids, SpecialTokens::kKeep), "");
}

}  // namespace
}  // namespace longhand::input
