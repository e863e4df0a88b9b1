#include "coordinator/cluster/planned_work.h"

#include <gtest/gtest.h>

namespace longhand::cluster {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// The 7B's encoder.
constexpr int64_t kHidden = 1280;
VisionConfig Encoder() { return {.hidden_size = kHidden}; }

TEST(PlannedWork, TokensTakeWhatTheWeightsAre) {
  EXPECT_EQ(LongestForTokens(0, int64_t{15} << 30), Duration::zero());
  EXPECT_EQ(LongestForTokens(1000, 10'000'000), seconds(1));
}

// 512 patches through all 32 blocks, or 16,384 through one in windows: as much.
TEST(PlannedWork, APicturesBlocksTakeTheirProducts) {
  const Duration all = LongestForPicture(Encoder(), 512, 0, 32);
  const Duration one = LongestForPicture(Encoder(), 16384, 0, 1);
  EXPECT_GT(one, minutes(1));
  EXPECT_LT(one, minutes(2));
  EXPECT_GT(all, one);  // Four of them are of full attention.
  EXPECT_LT(all, one + seconds(1));
}

// Photographs of twelve megapixels are these, as checkpoints have them resized.
TEST(PlannedWork, ALargePictureTakesTheSquareOfItsPatchesInFullAttention) {
  const Duration windows = LongestForPicture(Encoder(), 65536, 6, 7);
  const Duration full = LongestForPicture(Encoder(), 65536, 7, 8);
  EXPECT_LT(windows, minutes(5));
  EXPECT_GT(full, minutes(30));
  EXPECT_GE(LongestForPicture(Encoder(), 65536, 6, 8), windows + full);
}

}  // namespace
}  // namespace longhand::cluster
