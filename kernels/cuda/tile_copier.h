// The warpgroup that copies keys and values for the others of its block (attention_groups.h).
#pragma once

#include "kernels/cuda/group_memory.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// The copying warpgroup: tiles [0, num_tiles) of keys and values, in the order of their use, for
// one run of the multiplying ones after the other. It never waits for a copy: what has landed
// arrives at its tile's barrier, and who reads it puts the fence between it and wgmma. One of its
// warps is alone with its share of each tile, so that every instruction for a copy counts. Where a
// key does not exist the last one is copied, which nobody sees there.
template <typename Group>
class TileCopier {
 public:
  using Rows = KeyRows<DeviceBf16>;

  __device__ explicit TileCopier(GroupMemory<Group>& memory)
      : memory_(memory), thread_(static_cast<int>(threadIdx.x) % kGroupThreads) {}

  __device__ __forceinline__ void Run(const Rows& rows, int num_tiles) {
    int key_slot = 0, ahead = Find(rows, 0);
#pragma unroll 1
    for (int tile = 0; tile <= num_tiles; ++tile) {
      const int value_slot = key_slot;
      if (tile < num_tiles) {
        key_slot = rows.SlotOf(ahead, KeyOfLane(rows, tile));
        ahead = Find(rows, tile + 1);
        const Turn<Group> turn(begun_ + tile);
        WaitFor(memory_.keys_free[turn.stage], turn.parity ^ 1);
        Copy(rows, rows.keys.elements, key_slot, memory_.keys[turn.stage]);
        ArriveAfterCopies(memory_.keys_there[turn.stage]);
      }
      if (tile > 0) {
        const Turn<Group> turn(begun_ + tile - 1);
        WaitFor(memory_.values_free[turn.stage], turn.parity ^ 1);
        Copy(rows, rows.values.elements, value_slot, memory_.values[turn.stage]);
        ArriveAfterCopies(memory_.values_there[turn.stage]);
      }
    }
    begun_ += num_tiles;
  }
  // Before the thread ends.
  __device__ __forceinline__ void Finish() {
    CommitCopies();
    WaitForCopies<0>();
  }

 private:
  static constexpr int kChunks = Group::kHeadDim / 8;
  static constexpr int kCopies = kTileKeys * kChunks / kGroupThreads;
  // By half-warps, a row at a time, where it has as many chunks: a lane finds one of the rows for
  // all. Else two threads copy a row, and find it themselves.
  static constexpr bool kByHalfWarps = kChunks == kWarpSize / 2;
  static_assert(kByHalfWarps || kChunks % 2 == 0);

  // Of the row that the lane finds.
  __device__ __forceinline__ int KeyOfLane(const Rows& rows, int tile) const {
    const int lane = thread_ % kWarpSize, warp = thread_ / kWarpSize;
    const int row = kByHalfWarps ? lane % 8 * 8 + warp * 2 + lane / 16 : thread_ / 2;
    return min(tile * kTileKeys + row, rows.num_keys - 1);
  }
  __device__ __forceinline__ int Find(const Rows& rows, int tile) const {
    return rows.Block(KeyOfLane(rows, tile));
  }

  __device__ __forceinline__ void Copy(const Rows& rows,
                                       const DeviceBf16* elements,
                                       int slot,
                                       unsigned char* to) const {
    const int row_bytes = static_cast<int>(rows.row_stride) * static_cast<int>(sizeof(DeviceBf16));
    const char* from = reinterpret_cast<const char*>(elements);
    if constexpr (kByHalfWarps) {
      const int chunk = thread_ % kChunks;
      unsigned char* place = to + PlaceInAtoms(thread_ / kChunks, chunk);
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        const int64_t row = __shfl_sync(kAllLanes, slot, i, kWarpSize / 2);
        CopyAsync16(place + i * 8 * 128, from + chunk * 16 + row * row_bytes);
      }
    } else {
      const int row = thread_ / 2, first = thread_ % 2;
      const char* source = from + first * 16 + static_cast<int64_t>(slot) * row_bytes;
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        CopyAsync16(to + PlaceInAtoms(row, 2 * i + first), source + i * 32);
      }
    }
  }

  GroupMemory<Group>& memory_;
  int thread_, begun_ = 0;  // tiles, of the runs before
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
