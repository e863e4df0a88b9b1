// Where patches and tokens stand: windows, frames and rotary frequencies are the recorded ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "tests/parity/recording.h"
#include "worker/model/rope.h"
#include "worker/model/vision_geometry.h"

namespace longhand::parity {
namespace {

ModelConfig LoadConfig() {
  Result<ModelConfig> config = ModelConfig::Load(TestCheckpoint());
  LONGHAND_CHECK(config.ok()) << config.status();
  return std::move(config).value();
}

std::vector<model::ImageGrid> Grids(const std::string& name) {
  const std::vector<int32_t> values = TestRecording().Ints(name);
  std::vector<model::ImageGrid> grids;
  for (size_t i = 0; i < values.size(); i += 3) {
    grids.push_back({values[i], values[i + 1], values[i + 2]});
  }
  return grids;
}

// The reference pads a whole empty window where a side is a multiple of the window.
std::vector<int32_t> WithoutEmptySegments(std::vector<int32_t> boundaries) {
  boundaries.erase(std::unique(boundaries.begin(), boundaries.end()), boundaries.end());
  return boundaries;
}

TEST(GeometryParity, WindowsFramesAndPositionsAreTheRecordedOnes) {
  const Recording& recording = TestRecording();
  const ModelConfig config = LoadConfig();
  int num_compared = 0;
  for (int n = 0;; ++n) {
    const std::string key = "vitgeom/" + std::to_string(n) + "/";
    if (!recording.Has(key + "grid_thw")) break;
    SCOPED_TRACE(key);
    const std::vector<model::ImageGrid> grids = Grids(key + "grid_thw");
    const model::WindowOrder order = model::ComputeWindowOrder(grids, config.vision);
    EXPECT_EQ(order.unit_index, recording.Ints(key + "window_index"));
    EXPECT_EQ(order.cu_seqlens, WithoutEmptySegments(recording.Ints(key + "cu_window_seqlens")));
    EXPECT_EQ(model::FrameBoundaries(grids), recording.Ints(key + "cu_seqlens"));
    EXPECT_EQ(model::PatchPositions(grids, config.vision.spatial_merge_size),
              recording.Ints(key + "pos_hw"));
    ++num_compared;
  }
  EXPECT_GE(num_compared, 8);
}

void ExpectFrequencies(const RopeConfig& rope, int64_t head_dim, const std::string& name) {
  const Recording& recording = TestRecording();
  const model::RopeFrequencies actual = model::ComputeRopeFrequencies(rope, head_dim);
  const std::vector<float> expected = recording.Floats("rope/" + name + "/inv_freq");
  ASSERT_EQ(actual.inv_freq.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual.inv_freq[i] / expected[i], 1.0, 1e-6) << name << " frequency " << i;
  }
  EXPECT_FLOAT_EQ(actual.attention_scaling,
                  recording.Floats("rope/" + name + "/attention_scaling").front());
}

TEST(GeometryParity, RotaryFrequenciesAreTheRecordedOnes) {
  const ModelConfig config = LoadConfig();
  ExpectFrequencies(config.rope, config.head_dim, "default");
}

TEST(GeometryParity, YarnFrequenciesAreTheRecordedOnes) {
  ModelConfig config = LoadConfig();
  config.rope.yarn_factor = 4;
  config.rope.original_max_position_embeddings = 32768;
  ExpectFrequencies(config.rope, config.head_dim, "yarn");
}

}  // namespace
}  // namespace longhand::parity
