// The image encoder's geometry, as pure functions of the patch grids: positions, attention windows
// and frames. A grid is a still image (t = 1) or a clip; several are encoded as one batch, one
// behind the other.
//
// Patches come in the merged order (h/2, w/2, 2, 2): the merge^2 patches that become one token, a
// unit, are neighbours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/config/model_config.h"

namespace longhand::model {

// In patches; h and w are multiples of the merge size.
struct ImageGrid {
  int64_t t = 1;
  int64_t h = 0;
  int64_t w = 0;

  int64_t num_patches() const { return t * h * w; }
};

// [patches][2]: row and column of each patch.
std::vector<int32_t> PatchPositions(std::span<const ImageGrid> grids, int64_t merge_size);

// Units gathered by attention window.
struct WindowOrder {
  std::vector<int32_t> unit_index;  // [units]: the unit that stands at each place
  std::vector<int32_t> cu_seqlens;  // [windows + 1]: patches before each window; none is empty
};
WindowOrder ComputeWindowOrder(std::span<const ImageGrid> grids, const VisionConfig& vision);

// [frames + 1]: patches before each frame. Blocks with full attention see one frame at a time.
std::vector<int32_t> FrameBoundaries(std::span<const ImageGrid> grids);

// cos and sin [patches, head_dim / 2] of each position: a quarter of the head turns with the row, a
// quarter with the column.
struct VisionRopeTables {
  std::vector<float> cos;
  std::vector<float> sin;
};
VisionRopeTables ComputeVisionRope(std::span<const int32_t> positions, int64_t head_dim);

}  // namespace longhand::model
