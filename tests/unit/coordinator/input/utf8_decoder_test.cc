#include "coordinator/input/utf8_decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longhand::input {
namespace {

const std::string kBad = "\xEF\xBF\xBD";

// What comes out after each byte, and at the end.
std::vector<std::string> ByteByByte(std::string_view bytes) {
  Utf8Decoder decoder;
  std::vector<std::string> deltas;
  for (const char c : bytes) decoder.Append({&c, 1}, deltas.emplace_back());
  decoder.Finish(deltas.emplace_back());
  return deltas;
}

std::string AtOnce(std::string_view bytes) {
  Utf8Decoder decoder;
  std::string text;
  decoder.Append(bytes, text);
  decoder.Finish(text);
  return text;
}

TEST(Utf8Decoder, CharactersComeWholeAndAtOnce) {
  using Deltas = std::vector<std::string>;
  EXPECT_EQ(ByteByByte("a"), (Deltas{"a", ""}));
  EXPECT_EQ(ByteByByte("\u00e9"), (Deltas{"", "\u00e9", ""}));
  EXPECT_EQ(ByteByByte("\u4e2d"), (Deltas{"", "", "\u4e2d", ""}));
  EXPECT_EQ(ByteByByte("\U0001f642"), (Deltas{"", "", "", "\U0001f642", ""}));
}

// The rows of table 3-11 and its neighbours in the Unicode standard: one U+FFFD for each maximal
// part.
TEST(Utf8Decoder, EachMaximalMalformedPartBecomesOneReplacement) {
  EXPECT_EQ(AtOnce("\xC0\xAF"), kBad + kBad);
  EXPECT_EQ(AtOnce("\xE0\x80\xBF"), kBad + kBad + kBad);
  EXPECT_EQ(AtOnce("\xED\xA0\x80"), kBad + kBad + kBad);
  EXPECT_EQ(AtOnce("\xF4\x90\x80\x80"), kBad + kBad + kBad + kBad);
  EXPECT_EQ(AtOnce("\xF0\x80\x80\x41"), kBad + kBad + kBad + "A");
  EXPECT_EQ(AtOnce("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), kBad + kBad + kBad + kBad + "A");
  EXPECT_EQ(AtOnce("\xF5\xFF\x80"), kBad + kBad + kBad);
}

TEST(Utf8Decoder, AMalformedPartIsReplacedAsSoonAsItIsKnown) {
  using Deltas = std::vector<std::string>;
  EXPECT_EQ(ByteByByte("\xE1\x80\x41"), (Deltas{"", "", kBad + "A", ""}));
  EXPECT_EQ(ByteByByte("\xE0\x9F"), (Deltas{"", kBad + kBad, ""}));
  EXPECT_EQ(ByteByByte("\xF0\x9F\x99"), (Deltas{"", "", "", kBad}));
}

// Recorded from Python's incremental decoder.
TEST(Utf8Decoder, HalfASurrogateWaitsForTheNextByte) {
  using Deltas = std::vector<std::string>;
  EXPECT_EQ(ByteByByte("\xED\xA0\x80"), (Deltas{"", "", kBad + kBad + kBad, ""}));
  EXPECT_EQ(ByteByByte("\xED\xBF\x41"), (Deltas{"", "", kBad + kBad + "A", ""}));
  EXPECT_EQ(ByteByByte("\xED\xA0\xED\x9F\xBF"), (Deltas{"", "", kBad + kBad, "", "\uD7FF", ""}));
  EXPECT_EQ(ByteByByte("\xED\xA0"), (Deltas{"", "", kBad + kBad}));
}

TEST(Utf8Decoder, BoundsOfEachLengthAreCharacters) {
  for (const char* text :
       {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(AtOnce(text), text);
  }
}

}  // namespace
}  // namespace longhand::input
