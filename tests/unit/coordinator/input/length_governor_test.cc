#include "coordinator/input/length_governor.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace longhand::input {
namespace {

const WordCounter& Counter() {
  static const WordCounter counter;
  return counter;
}

// What is left of a text that comes in the given pieces.
std::string Held(const std::vector<std::string>& pieces, int64_t target_words) {
  LengthGovernor governor(target_words);
  RunningWordCount words(Counter());
  std::string out;
  for (const std::string& piece : pieces) {
    const std::optional<size_t> end = governor.Append(piece, &words);
    out += piece.substr(0, end.value_or(piece.size()));
    if (end.has_value()) {
      EXPECT_EQ(words.num_words(), Counter().Count(out));
      break;
    }
  }
  return out;
}

// `count` times "word", in sentences of ten and paragraphs of fifty.
std::string Words(int count) {
  std::string text;
  for (int i = 1; i <= count; ++i) {
    text += "word";
    text += i % 50 == 0 ? ".\n\n" : i % 10 == 0 ? ". " : " ";
  }
  return text;
}

// The same without white space at the end.
std::string Sentences(int count) {
  std::string text = Words(count);
  return text.substr(0, text.find_last_not_of(" \n") + 1);
}

struct Case {
  const char* what;
  std::string text;
  int64_t target_words;
  std::string held;
};

class LengthGovernorTest : public ::testing::TestWithParam<Case> {};

TEST_P(LengthGovernorTest, EndsTheTextAtTheRightPlace) {
  const Case& c = GetParam();
  EXPECT_EQ(Held({c.text}, c.target_words), c.held);
}

INSTANTIATE_TEST_SUITE_P(
    Texts,
    LengthGovernorTest,
    ::testing::Values(
        Case{"a text below the target is not cut", "One two. Three. ", 10, "One two. Three. "},
        Case{"the end of a sentence at the target", "One two. Three four. Five six. ", 4,
             "One two. Three four."},
        Case{"the next end of a sentence", Words(200), 105, Sentences(110)},
        Case{"a paragraph before it", Words(200), 101, Sentences(100)},
        Case{"a paragraph's end from 97% on", "a b c d e f g h i j.\nk l m. ", 10,
             "a b c d e f g h i j."},
        Case{"between words where no sentence ends", "a b c d e f g h i j k l m n", 10,
             "a b c d e f g h i j k"},
        Case{"closing marks belong to the sentence", "\"One *two.*\" Then", 2, "\"One *two.*\""},
        Case{"an ellipsis is one end", "One two... And three", 2, "One two..."},
        Case{"a point within a number ends nothing", "It is 3.5 or so. More", 4,
             "It is 3.5 or so."},
        Case{"a line's end without a stop is no end of a paragraph",
             "Title of it\nMore is here. No", 3, "Title of it\nMore"},
        Case{"Chinese needs no space", "一二三。四五六。七", 6, "一二三。四五六。"},
        Case{"Chinese quotes are closed", "他说：“来吧。”然后走了。", 4, "他说：“来吧。”"},
        Case{"between characters of Chinese", "一二三四五六七八九十百千万", 10,
             "一二三四五六七八九十百"}),
    [](const auto& info) { return std::to_string(info.index); });

// 97 words at the end of a paragraph are enough where 98 at the end of a sentence are not.
TEST(LengthGovernor, AParagraphMayEndEarlierThanASentence) {
  std::string text;
  for (int i = 0; i < 97; ++i) text += "w ";
  EXPECT_EQ(Held({text + "w. x y z. End"}, 100), text + "w. x y z.");
  text.pop_back();
  EXPECT_EQ(Held({text + ".\nx y z. End"}, 100), text + ".");
}

TEST(LengthGovernor, AnAnswerIsShortBelow95Percent) {
  const LengthGovernor governor(1000);
  EXPECT_TRUE(governor.IsShort(949));
  EXPECT_FALSE(governor.IsShort(950));
  EXPECT_TRUE(LengthGovernor(1).IsShort(0));
}

TEST(LengthGovernor, ThePiecesDoNotMatter) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string alphabet[] = {"a",  "bc ", " ", ". ", ".", "\n", "\n\n",
                                  "三", "。",  "”", "!",  "9", "(",  ")"};
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> characters;
    std::string text;
    for (int i = 0; i < 120; ++i) {
      characters.push_back(alphabet[random() % std::size(alphabet)]);
      text += characters.back();
    }
    const int64_t target = 1 + static_cast<int64_t>(random() % 40);
    EXPECT_EQ(Held(characters, target), Held({text}, target)) << text;
  }
}

}  // namespace
}  // namespace longhand::input
