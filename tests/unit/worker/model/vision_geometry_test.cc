#include "worker/model/vision_geometry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace longhand::model {
namespace {

using ::testing::ElementsAre;

std::span<const ImageGrid> One(const ImageGrid& grid) { return {&grid, 1}; }

TEST(VisionGeometry, PatchesOfAUnitAreNeighbours) {
  const ImageGrid grid{1, 2, 4};
  EXPECT_THAT(PatchPositions(One(grid), 2),
              ElementsAre(0, 0, 0, 1, 1, 0, 1, 1, 0, 2, 0, 3, 1, 2, 1, 3));
}

// 5 x 6 units: windows of 4 x 4 leave an edge of 1 row and one of 2 columns.
TEST(VisionGeometry, WindowsAtTheEdgesAreSmaller) {
  const ImageGrid grid{1, 10, 12};
  const WindowOrder order = ComputeWindowOrder(One(grid), VisionConfig());
  EXPECT_THAT(order.cu_seqlens, ElementsAre(0, 64, 96, 112, 120));
  ASSERT_EQ(order.unit_index.size(), 30u);
  EXPECT_THAT(std::vector<int32_t>(order.unit_index.begin(), order.unit_index.begin() + 6),
              ElementsAre(0, 1, 2, 3, 6, 7));
  EXPECT_THAT(std::vector<int32_t>(order.unit_index.begin() + 16, order.unit_index.begin() + 20),
              ElementsAre(4, 5, 10, 11));
}

TEST(VisionGeometry, AGridOfWholeWindowsHasNoEmptyOne) {
  const ImageGrid grid{1, 16, 8};
  EXPECT_THAT(ComputeWindowOrder(One(grid), VisionConfig()).cu_seqlens, ElementsAre(0, 64, 128));
}

TEST(VisionGeometry, FramesDoNotShareWindows) {
  const ImageGrid grids[] = {{2, 4, 4}, {1, 2, 2}};
  const WindowOrder order = ComputeWindowOrder(grids, VisionConfig());
  EXPECT_THAT(order.cu_seqlens, ElementsAre(0, 16, 32, 36));
  EXPECT_THAT(order.unit_index, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(FrameBoundaries(grids), ElementsAre(0, 16, 32, 36));
}

TEST(VisionGeometry, AQuarterOfTheHeadTurnsWithTheRowAndAQuarterWithTheColumn) {
  const std::vector<int32_t> positions = {3, 5};
  const VisionRopeTables rope = ComputeVisionRope(positions, 8);
  ASSERT_EQ(rope.cos.size(), 4u);
  EXPECT_FLOAT_EQ(rope.cos[0], std::cos(3.0f));
  EXPECT_FLOAT_EQ(rope.cos[1], std::cos(0.03f));
  EXPECT_FLOAT_EQ(rope.sin[2], std::sin(5.0f));
  EXPECT_FLOAT_EQ(rope.sin[3], std::sin(0.05f));
}

}  // namespace
}  // namespace longhand::model
