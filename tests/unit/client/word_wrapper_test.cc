#include "client/word_wrapper.h"

#include <gtest/gtest.h>

namespace longhand::client {
namespace {

// Pieces of `step` characters (ASCII only), or all at once.
std::string Wrapped(std::string_view text, size_t width, size_t step = 1000) {
  WordWrapper wrapper;
  std::string out;
  for (size_t at = 0; at < text.size(); at += step) wrapper.Add(text.substr(at, step), width, &out);
  wrapper.End(width, &out);
  return out;
}

TEST(WordWrapper, LinesEndBetweenWordsHoweverTheTextComes) {
  for (const size_t step : {1, 2, 3, 7, 1000}) {
    EXPECT_EQ(Wrapped("one two three four", 9, step), "one two\nthree\nfour");
    EXPECT_EQ(Wrapped("fits here\nand there", 9, step), "fits here\nand there");
    EXPECT_EQ(Wrapped("a\n\nb  c ", 9, step), "a\n\nb  c ");
    EXPECT_EQ(Wrapped("ends on the edge", 11, step), "ends on the\nedge");
  }
}

TEST(WordWrapper, AWordWiderThanALineIsBroken) {
  EXPECT_EQ(Wrapped("go abcdefghijkl on", 5), "go\nabcde\nfghij\nkl on");
}

TEST(WordWrapper, ChineseBreaksAnywhereAndIsTwoColumnsWide) {
  EXPECT_EQ(Wrapped("\u6d77\u8fb9\u7684\u4eba\u4eec\u3002", 5),
            "\u6d77\u8fb9\n\u7684\u4eba\n\u4eec\u3002");
  EXPECT_EQ(Wrapped("GPU\u8bad\u7ec3", 5), "GPU\u8bad\n\u7ec3");
  EXPECT_EQ(Wrapped("caf\u00e9 a\u00e9", 6), "caf\u00e9\na\u00e9");
}

TEST(WordWrapper, OnlyAnUnfinishedWordIsHeldBack) {
  WordWrapper wrapper;
  std::string out;
  wrapper.Add("hello wor", 20, &out);
  EXPECT_EQ(out, "hello");
  wrapper.Add("ld", 20, &out);
  wrapper.Add(" again", 20, &out);
  EXPECT_EQ(out, "hello world");
  wrapper.End(20, &out);
  EXPECT_EQ(out, "hello world again");
}

}  // namespace
}  // namespace longhand::client
