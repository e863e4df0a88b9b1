// The ring of stages in shared memory of linear_wgmma.cu: 64 k of x and of weights each, which one
// thread has the copy engine fill and the multiplying warps give back.
#pragma once

#include <algorithm>

#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/weight_formats.h"
#include "kernels/cuda/wgmma_units.h"

namespace longhand::kernels::LONGHAND_DEVICE {

template <typename Format, int kTokens>
struct WgmmaRing {
  static constexpr int kTiles = kWgmmaFeatures / kTileFeatures;
  static constexpr int kWordBytes = Format::kStageBytes - Format::kBytes;  // of a tile
  // A stage: x in the 128-byte swizzle, then weights, tile by tile, then their words.
  static constexpr int kXBytes = kTokens * kBlockK * 2;
  static constexpr int kWeightBytes = kTiles * Format::kBytes;
  static constexpr int kFilledBytes = kXBytes + kWeightBytes + kTiles * kWordBytes;
  static constexpr int kAlignment = 1024;
  static constexpr int kStageBytes =
      static_cast<int>(CeilDiv(kFilledBytes, kAlignment)) * kAlignment;
  // Small stages need more of them for as many bytes on their way.
  static constexpr int kMostStages = kWeightBytes < 16 << 10 ? 16 : 8;
  static constexpr int kStages = std::min(kMostStages, (225 << 10) / kStageBytes);
  static constexpr size_t kBytes =
      kAlignment + size_t{kStages} * (kStageBytes + 2 * sizeof(MBarrier));

  __device__ explicit WgmmaRing(unsigned char* memory)
      : stages(AlignShared<kAlignment>(memory)),
        filled(reinterpret_cast<MBarrier*>(stages + kStages * kStageBytes)),
        emptied(filled + kStages) {}

  __device__ __forceinline__ unsigned char* X(int stage) const {
    return stages + stage * kStageBytes;
  }
  __device__ __forceinline__ unsigned char* Weights(int stage, int tile) const {
    return X(stage) + kXBytes + tile * Format::kBytes;
  }
  __device__ __forceinline__ unsigned char* Words(int stage, int tile) const {
    return X(stage) + kXBytes + kWeightBytes + tile * kWordBytes;
  }

  unsigned char* stages;
  MBarrier* filled;   // [kStages]
  MBarrier* emptied;  // [kStages], by a lane of each multiplying warp
};

// Where the copies of a launch come from.
struct WgmmaMaps {
  TensorMap x, weights, words;  // words: where the format has them
};

// x: rows of in_features, or of whole blocks of them, in 16 bits.
template <typename Format>
Result<WgmmaMaps> MapsOf(const TensorCoreProblem& problem,
                         const void* x,
                         int64_t width,
                         int box_rows) {
  constexpr int kTiles = kWgmmaFeatures / kTileFeatures;
  constexpr int64_t kRow = 64, kRowBytes = 2 * kRow;
  const int64_t tiles = CeilDiv(problem.out_features, kTileFeatures);
  const int64_t blocks = problem.parts.num_blocks;
  WgmmaMaps maps = {};
  LONGHAND_ASSIGN_OR_RETURN(maps.x, MakeTensorMap<2>(x, {.sizes = {width, problem.num_tokens},
                                                         .strides = {0, width * 2},
                                                         .box = {kBlockK, box_rows},
                                                         .is_swizzled = true}));
  LONGHAND_ASSIGN_OR_RETURN(
      maps.weights,
      MakeTensorMap<4>(problem.weight,
                       {.sizes = {kRow, Format::kBytes / kRowBytes, blocks, tiles},
                        .strides = {0, kRowBytes, Format::kBytes, blocks * Format::kBytes},
                        .box = {kRow, Format::kBytes / kRowBytes, 1, kTiles},
                        .is_swizzled = false}));
  constexpr int kWordBytes = Format::kStageBytes - Format::kBytes;
  if constexpr (kWordBytes > 0) {
    const int64_t groups = blocks / problem.blocks_per_group;
    LONGHAND_ASSIGN_OR_RETURN(
        maps.words, MakeTensorMap<4>(problem.scales,
                                     {.sizes = {kWordBytes / 2, 1, groups, tiles},
                                      .strides = {0, kWordBytes, kWordBytes, groups * kWordBytes},
                                      .box = {kWordBytes / 2, 1, 1, kTiles},
                                      .is_swizzled = false}));
  }
  return maps;
}

// What the copying thread does: brings the blocks of k of this block's units, one after the other.
template <typename Format, int kTokens>
class WgmmaCopies {
 public:
  using Ring = WgmmaRing<Format, kTokens>;

  __device__ WgmmaCopies(const Ring& ring, const WgmmaMaps& maps, const TensorCoreProblem& problem)
      : ring_(ring), maps_(maps), blocks_per_group_(problem.blocks_per_group) {}

  __device__ __forceinline__ void Run(const WgmmaUnits& units, const KParts& parts) {
    // Of the first round the weights, which no kernel writes; then what may still be written.
    int idx = blockIdx.x;
    Begin(UnitAt<kTokens>(units, parts, idx), parts);
    const int ahead = min(end_, block_ + Ring::kStages), first = block_;
#pragma unroll 1
    for (int block = first; block < ahead; ++block) {
      ArriveExpecting(ring_.filled[block - first], Ring::kFilledBytes);
      CopyWeights(block - first, block);
    }
    WaitForPrevious();
#pragma unroll 1
    for (; block_ < ahead; ++block_, at_.Advance()) CopyX(at_.stage, block_);
    for (;;) {
#pragma unroll 1
      for (; block_ < end_; ++block_, at_.Advance()) {
        WaitFor(ring_.emptied[at_.stage], at_.parity ^ 1);
        ArriveExpecting(ring_.filled[at_.stage], Ring::kFilledBytes);
        CopyX(at_.stage, block_);
        CopyWeights(at_.stage, block_);
      }
      idx += gridDim.x;
      if (idx >= units.num_units) break;
      Begin(UnitAt<kTokens>(units, parts, idx), parts);
    }
  }

 private:
  __device__ __forceinline__ void Begin(const WgmmaUnit& unit, const KParts& parts) {
    block_ = unit.first_part * parts.blocks_per_part;
    end_ = min(unit.end_part * parts.blocks_per_part, parts.num_blocks);
    first_token_ = static_cast<int>(unit.first_token);
    first_tile_ = static_cast<int>(unit.first_feature / kTileFeatures);
  }

  __device__ __forceinline__ void CopyX(int stage, int block) {
    CopyBox(ring_.X(stage), maps_.x, {block * kBlockK, first_token_}, ring_.filled[stage]);
  }

  __device__ __forceinline__ void CopyWeights(int stage, int block) {
    CopyBox(ring_.Weights(stage, 0), maps_.weights, {0, 0, block, first_tile_},
            ring_.filled[stage]);
    if constexpr (Ring::kWordBytes > 0) {
      CopyBox(ring_.Words(stage, 0), maps_.words, {0, 0, block / blocks_per_group_, first_tile_},
              ring_.filled[stage]);
    }
  }

  const Ring& ring_;
  const WgmmaMaps& maps_;
  int blocks_per_group_;
  int block_ = 0, end_ = 0, first_token_ = 0, first_tile_ = 0;
  RingPosition<Ring::kStages> at_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
