#include "common/text/running_word_count.h"

#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <string>

namespace longhand {
namespace {

// Pieces whose neighbours decide whether they are words.
constexpr const char* kPieces[] = {"a",  "word", "GPU", " ",  "\n", ".", "_",
                                   "7",  "'",    "使",  "用", "，", "é", "e\u0301",
                                   "の", "²",    "‿",   "😀", "- ", "x1"};

// Of a text as it grows, in pieces of any size, what is counted is what counting all of it gives.
TEST(RunningWordCount, IsTheCountOfTheWholeTextAtAnyTime) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 rng(seed);
  const WordCounter counter;
  for (int round = 0; round < 300; ++round) {
    RunningWordCount running(counter);
    std::string text;
    for (int i = 0; i < 60; ++i) {
      std::string piece;
      for (uint32_t n = rng() % 9; n > 0; --n) piece += kPieces[rng() % std::size(kPieces)];
      running.Append(piece);
      text += piece;
      ASSERT_EQ(running.num_words(), counter.Count(text)) << text;
    }
  }
}

TEST(RunningWordCount, OneWordWithoutEndIsOne) {
  const WordCounter counter;
  RunningWordCount running(counter);
  for (int i = 0; i < 100'000; ++i) running.Append("a");
  EXPECT_EQ(running.num_words(), 1);
  running.Append("使");
  EXPECT_EQ(running.num_words(), 1);  // No word any more, but a character.
}

}  // namespace
}  // namespace longhand
