// What a block of decode attention by wgmma has in shared memory (paged_decode_groups.cu), and how
// it lies there.
//
// A tile is 64 keys, or their values, as the copy engine brings them: groups of eight, of each the
// first 64 elements of the head and then the others, in an atom of mma.h. Queries and weights are
// up to 16 rows, in atoms of eight; queries have a half of the head behind the other.
#pragma once

#include "kernels/cuda/attention_wgmma.h"
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/decode_ring.h"
#include "kernels/cuda/mbarrier.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kAtomBytes = 8 * 128;
constexpr int kKeyGroupBytes = 2 * kAtomBytes;  // of eight keys
constexpr int kGroupTileBytes = kTileKeys / 8 * kKeyGroupBytes;
constexpr int kQueryHalfBytes = kWarpRows / 8 * kAtomBytes;

// Three of them and a kilobyte each fill a multiprocessor's memory.
struct DecodeGroupMemory {
  // As many sequences as there is room for.
  static constexpr int kListEntries = 96;
  alignas(kAtomBytes) unsigned char keys[kRingTiles][kGroupTileBytes];
  unsigned char values[kRingTiles][kGroupTileBytes];
  unsigned char queries[2 * kQueryHalfBytes];
  unsigned char weights[kWarpRows / 8 * kAtomBytes];
  float max[kDecodeWarps][kWarpRows];  // of each warp's keys
  MBarrier keys_there[kRingTiles], keys_free[kRingTiles];
  MBarrier values_there[kRingTiles], values_free[kRingTiles];
  DecodeList<kListEntries> list;  // the copying warp's
  DecodeItems items;
  MBarrier items_there[DecodeItems::kPlaces], items_free[DecodeItems::kPlaces];
  uint32_t complete;  // FinishItem's

  static constexpr size_t Bytes() { return sizeof(DecodeGroupMemory) + kAtomBytes; }
};
static_assert(3 * (DecodeGroupMemory::Bytes() + 1024) <= 228 << 10);

// What is the same in all lanes, of which the compiler is told: descriptors are then made once for
// a warp.
__device__ __forceinline__ int Uniform(int x) { return __shfl_sync(kAllLanes, x, 0); }

// Where the 16-byte chunk of a row lies in its atom's eight rows.
__device__ __forceinline__ int PlaceInAtom(int row, int chunk) {
  return row * 128 + (chunk % 8 ^ row % 8) * 16;
}

// From the 16 elements `step` of the head on.
__device__ __forceinline__ SharedMatrix KeysAt(const unsigned char* tile, int step) {
  return Advance(MatrixInShared(tile, kKeyGroupBytes), step / 4 * kAtomBytes + step % 4 * 32);
}
__device__ __forceinline__ SharedMatrix QueriesAt(const unsigned char* queries, int step) {
  return Advance(MatrixInShared(queries), step / 4 * kQueryHalfBytes + step % 4 * 32);
}
// A half of the head, of the 16 keys `step`: rows that are k.
__device__ __forceinline__ SharedMatrix ValuesAt(const unsigned char* tile, int half, int step) {
  return Advance(MatrixInShared(tile, kKeyGroupBytes),
                 half * kAtomBytes + step * 2 * kKeyGroupBytes);
}

// As MultiplyShared of wgmma.h, with 16 rows of a that are k and 64 elements of theirs: one atom
// wide.
template <int kTiles>
__device__ __forceinline__ void MultiplyTransposedShared([[maybe_unused]] float (&d)[kTiles][4],
                                                         [[maybe_unused]] SharedMatrix a,
                                                         [[maybe_unused]] SharedMatrix b) {
  static_assert(kTiles == 1 || kTiles == 2);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr bool accumulate = true;
  if constexpr (kTiles == 1) {
    LONGHAND_WGMMA_SHARED("8", "1", LONGHAND_NAMES_1, "%4", "%5", "%6", LONGHAND_SUMS_1);
  } else {
    LONGHAND_WGMMA_SHARED("16", "1", LONGHAND_NAMES_2, "%8", "%9", "%10", LONGHAND_SUMS_2);
  }
#elif !defined(__CUDACC__)
  emulation::BeginProduct({.d = d,
                           .a = nullptr,
                           .shared_a = a,
                           .b = b,
                           .columns = 8 * kTiles,
                           .accumulate = true,
                           .is_a_transposed = true});
#endif
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
