#include "common/text/word_counter.h"

#include <gtest/gtest.h>

#include <string>

namespace longhand {
namespace {

struct Case {
  const char* text;
  int64_t words;
};

// What Python counts: len(re.findall(r"\b[a-zA-Z]+\b", text)) + len(re.findall("[一-鿿]", text)).
constexpr Case kGolden[] = {
    {"don't stop", 3},
    {"co-operate", 2},
    {"U.S.", 2},
    {"使用GPU训练", 4},
    {"GPU 训练", 3},
    {"GPT4 wins", 1},
    {"café", 0},
    {"naïve", 0},
    {"a_b", 0},
    {"x1 1x x", 1},
    {"it’s 3.5", 2},
    {"㐀㐁一", 1},
    {"日本語のテスト", 3},
    {"", 0},
    {"一鿿", 2},
    {"ꀀ䷿", 0},                // the range's ends, and what lies beyond
    {"e\u0301 cafe\u0301", 2},  // a combining mark is no letter
    {"a²b x½ y٣ zⅣ", 0},        // numbers of every kind are
    {"a‿b", 2},                 // a connector is none, but for _
    {"one,two;three—four", 4},
};

TEST(WordCounter, CountsAsPythonDoes) {
  const WordCounter counter;
  for (const Case& c : kGolden) EXPECT_EQ(counter.Count(c.text), c.words) << c.text;
}

TEST(WordCounter, LongTextsAndNulBytesAreCountedToTheEnd) {
  const WordCounter counter;
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "word 词 ";
  EXPECT_EQ(counter.Count(text), 20000);
  EXPECT_EQ(counter.Count(std::string("one\0two", 7)), 2);
  EXPECT_EQ(counter.Count(std::string(1 << 20, 'a')), 1);
}

TEST(WordCounter, BytesThatAreNotUtf8CountNothing) {
  const WordCounter counter;
  EXPECT_EQ(counter.Count("one\xff two \xe4\xb8 三"), 3);
  EXPECT_EQ(counter.Count("\x80\x80\x80"), 0);
  EXPECT_EQ(counter.Count("one\xe4"), 1);
  EXPECT_EQ(counter.Count(std::string(1 << 20, '\xff') + " one"), 1);
}

}  // namespace
}  // namespace longhand
