// A warp's own ring of weights in shared memory, which cp.async fills and which goes on over the
// ends of units (streams.h).
#pragma once

#include "kernels/cuda/streams.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Copies stages of a tile's neighbouring blocks, one after the other.
template <typename Format, int kStageBlocks>
class StageCopies {
 public:
  StageCopies() = default;
  // From `block` on. Behind the last tile that exists: of that one.
  __device__ __forceinline__ StageCopies(const TensorCoreProblem& problem,
                                         int tile,
                                         int block,
                                         int lane) {
    tile = min(tile, static_cast<int>(CeilDiv(problem.out_features, kTileFeatures)) - 1);
    const int num_blocks = problem.parts.num_blocks;
    from_ = problem.weight + (int64_t{tile} * num_blocks + block) * Format::kBytes + lane * kPiece;
    if constexpr (kWordBytes > 0) {
      blocks_per_group_ = problem.blocks_per_group;
      const int mine = block + lane / kWordPieces, group = mine / blocks_per_group_;
      in_group_ = mine - group * blocks_per_group_;
      words_ = static_cast<const unsigned char*>(problem.scales) +
               (int64_t{tile} * (num_blocks / blocks_per_group_) + group) * kWordBytes +
               lane % kWordPieces * kPiece;
    }
  }

  // `count` blocks, up to kStageBlocks.
  __device__ __forceinline__ void Copy(unsigned char* stage, int count, int lane) {
    unsigned char* to = stage + lane * kPiece;
#pragma unroll
    for (int i = 0; i < kStageBlocks; ++i) {
      if (i > 0 && i >= count) break;
#pragma unroll
      for (int j = 0; j < Format::kBytes / kWarpPieces; ++j) {
        CopyAsync16(to + i * Format::kStageBytes + j * kWarpPieces,
                    from_ + i * Format::kBytes + j * kWarpPieces);
      }
    }
    from_ += kStageBlocks * Format::kBytes;
    if constexpr (kWordBytes > 0) {
      // Four lanes a block.
      if (lane / kWordPieces < min(count, kStageBlocks)) {
        CopyAsync16(stage + lane / kWordPieces * Format::kStageBytes + Format::kBytes +
                        lane % kWordPieces * kPiece,
                    words_);
      }
      in_group_ += kStageBlocks;
#pragma unroll 1
      while (in_group_ >= blocks_per_group_) in_group_ -= blocks_per_group_, words_ += kWordBytes;
    }
  }

 private:
  static constexpr int kPiece = 16, kWarpPieces = kPiece * kWarpSize;
  static constexpr int kWordBytes = Format::kStageBytes - Format::kBytes;
  static constexpr int kWordPieces = kWordBytes > 0 ? kWordBytes / kPiece : 1;

  const unsigned char* from_ = nullptr;
  // Of the block that this lane copies words for.
  const unsigned char* words_ = nullptr;
  int blocks_per_group_ = 1, in_group_ = 0;
};

// A stage is 2 KiB of weights or a little more: so many blocks of 64 k, fewer at the end of a part.
template <typename Format, int kStages>
class WeightRing {
 public:
  static constexpr int kStageBlocks = kTileBlock * 2 / Format::kBytes;
  static constexpr int kStageBytes = kStageBlocks * Format::kStageBytes;
  static constexpr int kBytes = kStages * kStageBytes;

  // The units of a thread block that are this warp's, from the first on.
  __device__ WeightRing(const TensorCoreProblem& problem,
                        const Streams& streams,
                        UnitRange units,
                        unsigned char* memory)
      : problem_(problem),
        streams_(streams),
        memory_(memory),
        lane_(threadIdx.x % kWarpSize),
        next_(units.begin + static_cast<int>(threadIdx.x) / kWarpSize),
        step_(static_cast<int>(blockDim.x) / kWarpSize),
        end_(units.end) {
    BeginUnit();
#pragma unroll 1
    for (int i = 0; i < kStages - 1; ++i) StartNext();
  }

  // Waits for the next stage, which stays until the one after it is taken.
  __device__ __forceinline__ const unsigned char* Take() {
    WaitForCopies<kStages - 2>();
    // It is there for all lanes, and all are done with the one before, whose place the next copies
    // take.
    __syncwarp();
    StartNext();
    const unsigned char* stage = memory_ + taken_ * kStageBytes;
    taken_ = taken_ + 1 == kStages ? 0 : taken_ + 1;
    return stage;
  }

 private:
  __device__ __forceinline__ void BeginUnit() {
    const StreamUnit unit = StreamUnitAt(streams_, problem_.parts, next_);
    tile_ = unit.tile;
    part_ = unit.first_part, end_part_ = unit.end_part;
    BeginPart();
  }
  __device__ __forceinline__ void BeginPart() {
    block_ = part_ * problem_.parts.blocks_per_part;
    end_block_ = EndOfPart(problem_.parts, part_);
    copies_ = {problem_, tile_, block_, lane_};
  }

  // An empty group where there is no unit: groups are counted.
  __device__ __forceinline__ void StartNext() {
    if (next_ < end_) {
      copies_.Copy(memory_ + filled_ * kStageBytes, end_block_ - block_, lane_);
      block_ += kStageBlocks;
      if (block_ >= end_block_) {
        if (++part_ == end_part_) {
          next_ += step_;
          BeginUnit();
        } else {
          BeginPart();
        }
      }
      filled_ = filled_ + 1 == kStages ? 0 : filled_ + 1;
    }
    CommitCopies();
  }

  const TensorCoreProblem& problem_;
  const Streams& streams_;
  unsigned char* memory_;
  int lane_;
  int next_, step_, end_;                           // units
  int tile_, part_, end_part_, block_, end_block_;  // to be copied next
  int filled_ = 0, taken_ = 0;
  StageCopies<Format, kStageBlocks> copies_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
