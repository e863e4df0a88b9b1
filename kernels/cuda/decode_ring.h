// How decode attention's keys and values come into shared memory: tiles of 64 keys, one after the
// other over the ends of items, into a ring that is filled ahead of their use.
#pragma once

#include "kernels/cuda/decode_list.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kDecodeWarps = 4;
constexpr int kDecodeThreads = kDecodeWarps * kWarpSize;

// The items that a block has begun to copy and not finished yet, in its shared memory.
template <int kTiles>
struct DecodeItems {
  // One is used and kTiles may be copied ahead, if each has one tile; one is being written.
  static constexpr int kPlaces = kTiles + 2;
  DecodeItem items[kPlaces];
  __device__ static int After(int place) { return place + 1 == kPlaces ? 0 : place + 1; }
};

// Goes through the tiles of a block's items: an item's rows by 16, for these its keys by 64. The
// same in all threads of the block.
struct DecodeCursor {
  int idx;        // of the item, in the list
  int place = 0;  // of the item, in DecodeItems
  int num_rows, first_row;
  int begin, key, end;  // keys of the split, and the tile's first

  __device__ void Enter(const DecodeItem& item) {
    num_rows = item.rows.count();
    first_row = 0;
    begin = key = SplitBegin(item.split);
    end = min(SplitBegin(item.split + 1), item.rows.first.context_len);
  }
  __device__ bool EndsRows() const { return key + kTileKeys >= end; }
  __device__ bool EndsItem() const { return EndsRows() && first_row + kWarpRows >= num_rows; }
  // To the next tile of the item, which has one.
  __device__ void Step() {
    if (EndsRows()) first_row += kWarpRows;
    key = EndsRows() ? begin : key + kTileKeys;
  }
};

// Copies tiles of keys and values, by all threads of a block: a thread copies the same chunks of 16
// bytes of each. In two steps, so that no copy waits for the block table: Find reads it.
//
// Rows of 8 bits come as they are, and the thread that copied a part widens it.
template <typename Types>
class TileCopies {
 public:
  using Kv = typename Types::Kv;
  static constexpr bool kWidens = Types::kBytes;
  static constexpr int kChunks = Types::kHeadDim * static_cast<int>(sizeof(Kv)) / 16;
  // Chunks that share a scale: those of a row, where one warp has them.
  static constexpr int kPerScale = kWarpSize % kChunks == 0 ? kChunks : 1;
  static constexpr int kScalesOffset = kTileKeys * kChunks * 16;
  // Of a tile's keys, or values, as they come.
  static constexpr int kBytes =
      kWidens ? kScalesOffset + kTileKeys * kChunks / kPerScale * static_cast<int>(sizeof(float))
              : Types::TileBytes(Types::kHeadDim);

  __device__ __forceinline__ void Find(const KeyRows<Kv>& rows, int first_key) {
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      block_[j] = Exists(j) ? rows.Block(first_key + RowOf(j)) : -1;
    }
  }

  // Starts the copies of the tile that Find was called for: keys are one group, values the next.
  __device__ __forceinline__ void Start(const KeyRows<Kv>& rows,
                                        int first_key,
                                        char* keys,
                                        char* values) const {
    CopySide(rows, rows.keys, first_key, keys);
    CommitCopies();
    CopySide(rows, rows.values, first_key, values);
    CommitCopies();
  }

  // Of keys or values that have come, to bf16.
  __device__ __forceinline__ void Widen(bool fp8, const char* raw, char* tile) const {
    if constexpr (kWidens) {
      constexpr int kPitch = Types::Pitch(Types::kHeadDim);
      __syncwarp();  // a row's scale came with another thread's copies
#pragma unroll
      for (int j = 0; j < kPieces; ++j) {
        if (!Exists(j)) break;
        const int i = PieceOf(j);
        const uint4 bytes = *reinterpret_cast<const uint4*>(raw + i * 16);
        const float scale =
            *reinterpret_cast<const float*>(raw + kScalesOffset + i / kPerScale * 4);
        auto* out = reinterpret_cast<uint4*>(tile + RowOf(j) * kPitch + i % kChunks * 32);
        const uint2 a = FourToBf16(bytes.x, fp8, scale), b = FourToBf16(bytes.y, fp8, scale);
        const uint2 c = FourToBf16(bytes.z, fp8, scale), d = FourToBf16(bytes.w, fp8, scale);
        out[0] = {a.x, a.y, b.x, b.y};
        out[1] = {c.x, c.y, d.x, d.y};
      }
    }
  }

 private:
  static constexpr int kPieces = (kTileKeys * kChunks + kDecodeThreads - 1) / kDecodeThreads;

  __device__ static int PieceOf(int j) {
    return j * kDecodeThreads + static_cast<int>(threadIdx.x);
  }
  __device__ static int RowOf(int j) { return PieceOf(j) / kChunks; }
  __device__ static bool Exists(int j) {
    return kTileKeys * kChunks % kDecodeThreads == 0 || RowOf(j) < kTileKeys;
  }

  __device__ __forceinline__ void CopySide(const KeyRows<Kv>& rows,
                                           const HeadSide<Kv>& from,
                                           int first_key,
                                           char* to) const {
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      if (!Exists(j)) break;
      const int i = PieceOf(j), row = RowOf(j), byte = i % kChunks * 16;
      const int slot = rows.SlotOf(block_[j], first_key + row);
      const auto* source =
          reinterpret_cast<const char*>(from.elements + (slot < 0 ? 0 : slot * rows.row_stride));
      char* place = kWidens ? to + i * 16 : to + row * Types::Pitch(Types::kHeadDim) + byte;
      CopyAsync16(place, source + byte, slot < 0 ? 0 : 16);
      if (kWidens && i % kPerScale == 0) {
        CopyAsync4(to + kScalesOffset + i / kPerScale * 4,
                   from.scales + (slot < 0 ? 0 : int64_t{slot} * rows.scale_stride),
                   slot < 0 ? 0 : 4);
      }
    }
  }

  int block_[kPieces];
};

// The shared memory of a block with a ring of kTiles.
template <typename Types, int kTiles>
struct DecodeMemory {
  using Copies = TileCopies<Types>;
  static constexpr int kTileBytes = Types::TileBytes(Types::kHeadDim);
  static constexpr int kWeightPitch = kTileKeys * 2 + kPadBytes;
  alignas(16) char ring[kTiles][2][Copies::kBytes];
  // With 8 bits: the tile at hand, widened.
  alignas(16) char widened[Copies::kWidens ? 2 * kTileBytes : 16];
  alignas(16) char weights[kWarpRows * kWeightPitch];  // bf16
  float max[kDecodeWarps][kWarpRows];                  // of each warp's keys
  DecodeList<kDecodeThreads> list;
  DecodeItems<kTiles> items;
  uint32_t complete;  // FinishItem's

  __device__ char* keys(int tile) { return Copies::kWidens ? widened : ring[tile][0]; }
  __device__ char* values(int tile) {
    return Copies::kWidens ? widened + kTileBytes : ring[tile][1];
  }
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
