// How few rows' products are cut over a device (linear_streams.cu): units, of 16 features and one
// part of k (KParts) or all of them; which units a thread block has; where warps' parts meet.
#pragma once

#include "kernels/cuda/linear_tile.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Units are ordered by part, then by feature.
struct Streams {
  int num_tiles;  // of 16 features
  int num_units;  // num_tiles, times the parts if by_parts
  bool by_parts;
  int blocks_per_part;  // thread blocks that have units of one part only; 0: of any
  int units_per_block, blocks_with_more;  // one more
  // Of 64 k that shared memory holds of x. Where is_windowed, a thread block's units have the same
  // parts, and its warps go through them together, a window of x after the other; else all that it
  // reads of x is there from the beginning.
  int x_blocks;
  bool is_windowed;
  Meetings meetings;  // by_parts: [tiles], [tiles][num_parts][token tiles][lanes]
};

struct UnitRange {
  int begin, end;
};

// An equal share, to one.
__device__ __forceinline__ UnitRange UnitsOfBlock(const Streams& streams) {
  int base = 0, idx = static_cast<int>(blockIdx.x);
  if (streams.blocks_per_part > 0) {
    const int part = idx / streams.blocks_per_part;
    base = part * streams.num_tiles, idx -= part * streams.blocks_per_part;
  }
  base += idx * streams.units_per_block + min(idx, streams.blocks_with_more);
  return {base, base + streams.units_per_block + (idx < streams.blocks_with_more ? 1 : 0)};
}

struct StreamUnit {
  int tile, first_part, end_part;
};

__device__ __forceinline__ StreamUnit StreamUnitAt(const Streams& streams,
                                                   const KParts& parts,
                                                   int idx) {
  if (!streams.by_parts) return {idx, 0, parts.num_parts};
  const int part = idx / streams.num_tiles;
  return {idx - part * streams.num_tiles, part, part + 1};
}

__device__ __forceinline__ int EndOfPart(const KParts& parts, int part) {
  return min((part + 1) * parts.blocks_per_part, parts.num_blocks);
}

// Where the sums of 16 features and one part lie.
template <int kTiles>
__device__ __forceinline__ float4* PlaceOfPart(
    float4* sums, const KParts& parts, int tile, int part, int lane) {
  return sums + (int64_t{tile} * parts.num_parts + part) * (kTiles * kWarpSize) + lane;
}

// Leaves them.
template <int kTiles>
__device__ __forceinline__ void LeavePart(float4* sums,
                                          const KParts& parts,
                                          int tile,
                                          int part,
                                          int lane,
                                          const TileSums (&sum)[kTiles]) {
  float4* mine = PlaceOfPart<kTiles>(sums, parts, tile, part, lane);
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    mine[t * kWarpSize] = float4{sum[t][0], sum[t][1], sum[t][2], sum[t][3]};
  }
}

// Behind what the warp left, a part of up to 32 tiles: each lane says which tile's it is, or that
// it has none. Of which lanes' tiles all parts are there now, for this warp to join.
__device__ __forceinline__ unsigned Arrive(unsigned* arrived,
                                           int tile,
                                           int num_parts,
                                           bool exists) {
  // Behind it a lane's fence stands for all lanes' stores.
  __syncwarp();
  __threadfence();
  bool is_last = false;
  if (exists) {
    is_last = atomicAdd(arrived + tile, 1u) == static_cast<unsigned>(num_parts) - 1;
    if (is_last) arrived[tile] = 0;
  }
  // What one lane's fence lets it see the others see behind this: a vote orders no memory.
  __threadfence();
  __syncwarp();
  return __ballot_sync(kAllLanes, is_last);
}

// The sums of all parts, added in order.
template <int kTiles>
__device__ __forceinline__ void JoinLeftParts(
    float4* sums, const KParts& parts, int tile, int lane, TileSums (&total)[kTiles]) {
  const float4* left = PlaceOfPart<kTiles>(sums, parts, tile, 0, lane);
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    float4 loaded[kMaxParts];  // on their way together
#pragma unroll
    for (int p = 0; p < kMaxParts; ++p) {
      if (p < parts.num_parts) loaded[p] = __ldcg(left + (p * kTiles + t) * kWarpSize);
    }
#pragma unroll
    for (int p = 0; p < kMaxParts; ++p) {
      const float4& v = loaded[p];
      if (p < parts.num_parts) AddPart({v.x, v.y, v.z, v.w}, p == 0, total[t]);
    }
  }
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
