#include "worker/comm/sum_ways.h"

#include <gtest/gtest.h>

#include <limits>

namespace longhand::comm {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

TEST(SumWays, EachSizeGoesItsQuickestWay) {
  const SumWays ways = SumWays::Choose(
      {{4096, {10, 20, 30}}, {16384, {20, 10, 30}}, {65536, {30, 20, 10}}, {262144, {30, 10, 20}}});
  EXPECT_EQ(ways.ToString(),
            "one shot up to 4096 bytes, two shots up to 16384 bytes, the other way up to 65536 "
            "bytes, two shots up to 262144 bytes, the other way beyond");
  EXPECT_EQ(ways.For(1), SumWay::kOneShot);
  EXPECT_EQ(ways.For(4096), SumWay::kOneShot);
  EXPECT_EQ(ways.For(4097), SumWay::kTwoShots);
  EXPECT_EQ(ways.For(65536), SumWay::kOther);
  EXPECT_EQ(ways.For(65537), SumWay::kTwoShots);
  EXPECT_EQ(ways.For(262145), SumWay::kOther);
  EXPECT_TRUE(ways.AreKernelsUpTo(16384));
  EXPECT_FALSE(ways.AreKernelsUpTo(16385));
  EXPECT_FALSE(ways.AreKernelsUpTo(262144));
}

TEST(SumWays, LessThanFivePercentIsNoiseAndTheWayOfTheSizeBeforeIsKept) {
  EXPECT_EQ(SumWays::Choose({{4096, {100, 200, 96}}}).ToString(),
            "one shot up to 4096 bytes, the other way beyond");
  EXPECT_EQ(SumWays::Choose({{4096, {100, 200, 94}}}).ToString(), "the other way beyond");
  EXPECT_EQ(SumWays::Choose({{4096, {20, 10, 20}}, {16384, {96, 100, 97}}}).ToString(),
            "two shots up to 16384 bytes, the other way beyond");
}

TEST(SumWays, AWayThatASizeCannotGoIsLeft) {
  EXPECT_EQ(SumWays::Choose({{4096, {20, 10, 30}}, {16384, {40, kNever, 39}}}).ToString(),
            "two shots up to 4096 bytes, the other way beyond");
}

TEST(SumWays, SizesWithoutTimesGoTheOtherWay) {
  EXPECT_EQ(SumWays().For(1), SumWay::kOther);
  EXPECT_FALSE(SumWays().AreKernelsUpTo(0));
  EXPECT_EQ(SumWays(100, 200).ToString(),
            "one shot up to 100 bytes, two shots up to 200 bytes, the other way beyond");
}

TEST(SumWays, AnotherRankReadsWhatOneEncoded) {
  for (const SumWays& ways :
       {SumWays(), SumWays(100, 200),
        SumWays::Choose({{4096, {3, 3, 1}}, {16384, {1, 2, 3}}, {65536, {3, 3, 1}}})}) {
    const auto read = SumWays::Decode(ways.Encode());
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->ToString(), ways.ToString());
  }
  for (const char* text : {"0", "0 x", "3 4096 ", "one shot", "0 -1 ", "0 4096 trailing"}) {
    const auto read = SumWays::Decode(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_NE(read.status().message().find(text), std::string::npos) << read.status();
  }
}

}  // namespace
}  // namespace longhand::comm
