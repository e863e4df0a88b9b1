#include "worker/model/vision_geometry.h"

#include <algorithm>
#include <cmath>

namespace longhand::model {
namespace {

constexpr double kTheta = 10000.0;

}  // namespace

std::vector<int32_t> PatchPositions(std::span<const ImageGrid> grids, int64_t merge_size) {
  std::vector<int32_t> out;
  for (const ImageGrid& grid : grids) {
    const int64_t units_w = grid.w / merge_size;
    const int64_t unit = merge_size * merge_size;
    for (int64_t patch = 0; patch < grid.num_patches(); ++patch) {
      const int64_t in_frame = patch % (grid.h * grid.w);
      const int64_t unit_idx = in_frame / unit;
      const int64_t inner = in_frame % unit;
      out.push_back(static_cast<int32_t>(unit_idx / units_w * merge_size + inner / merge_size));
      out.push_back(static_cast<int32_t>(unit_idx % units_w * merge_size + inner % merge_size));
    }
  }
  return out;
}

// Windows are square and start at the frame's corner; those at the right and bottom edge are
// smaller, never padded.
WindowOrder ComputeWindowOrder(std::span<const ImageGrid> grids, const VisionConfig& vision) {
  const int64_t merge = vision.spatial_merge_size;
  const int64_t window = vision.window_size / vision.patch_size / merge;  // units along an edge
  WindowOrder out;
  out.cu_seqlens.push_back(0);
  int64_t first = 0;  // of the frame's units
  for (const ImageGrid& grid : grids) {
    const int64_t h = grid.h / merge;
    const int64_t w = grid.w / merge;
    for (int64_t frame = 0; frame < grid.t; ++frame, first += h * w) {
      for (int64_t top = 0; top < h; top += window) {
        for (int64_t left = 0; left < w; left += window) {
          for (int64_t y = top; y < std::min(top + window, h); ++y) {
            for (int64_t x = left; x < std::min(left + window, w); ++x) {
              out.unit_index.push_back(static_cast<int32_t>(first + y * w + x));
            }
          }
          const auto units = static_cast<int64_t>(out.unit_index.size());
          out.cu_seqlens.push_back(static_cast<int32_t>(units * merge * merge));
        }
      }
    }
  }
  return out;
}

std::vector<int32_t> FrameBoundaries(std::span<const ImageGrid> grids) {
  std::vector<int32_t> out = {0};
  for (const ImageGrid& grid : grids) {
    for (int64_t frame = 0; frame < grid.t; ++frame) {
      out.push_back(out.back() + static_cast<int32_t>(grid.h * grid.w));
    }
  }
  return out;
}

VisionRopeTables ComputeVisionRope(std::span<const int32_t> positions, int64_t head_dim) {
  const int64_t quarter = head_dim / 4;
  std::vector<float> inv_freq;
  for (int64_t i = 0; i < quarter; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim / 2);
    inv_freq.push_back(1.0f / static_cast<float>(std::pow(kTheta, static_cast<double>(exponent))));
  }
  // A picture has few rows and columns and many patches: each position is computed once.
  const int32_t last =
      positions.empty() ? -1 : *std::max_element(positions.begin(), positions.end());
  VisionRopeTables by_position;
  for (int32_t position = 0; position <= last; ++position) {
    for (const float frequency : inv_freq) {
      const float angle = static_cast<float>(position) * frequency;
      by_position.cos.push_back(std::cos(angle));
      by_position.sin.push_back(std::sin(angle));
    }
  }
  VisionRopeTables out;
  out.cos.reserve(positions.size() * static_cast<size_t>(quarter));
  out.sin.reserve(positions.size() * static_cast<size_t>(quarter));
  for (const int32_t position : positions) {
    const int64_t at = position * quarter;
    out.cos.insert(out.cos.end(), by_position.cos.begin() + at,
                   by_position.cos.begin() + at + quarter);
    out.sin.insert(out.sin.end(), by_position.sin.begin() + at,
                   by_position.sin.begin() + at + quarter);
  }
  return out;
}

}  // namespace longhand::model
