// How decode attention's keys and values come into shared memory: tiles of 64 keys, one after the
// other over the ends of items, into a ring that is filled ahead of their use.
#pragma once

#include "kernels/cuda/decode_list.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kDecodeWarps = 4;
constexpr int kDecodeThreads = kDecodeWarps * kWarpSize;
constexpr int kRingTiles = 2;  // that are being copied or used

// The items that a block has begun to copy and not finished yet, in its shared memory.
struct DecodeItems {
  // One is used and kRingTiles may be copied ahead, if each has one tile; one is being written.
  static constexpr int kPlaces = kRingTiles + 2;
  static constexpr int kNone = -1;  // the `split` of what comes after the last item
  DecodeItem items[kPlaces];
  __device__ static int After(int place) { return place + 1 == kPlaces ? 0 : place + 1; }
};

// Goes through the tiles of an item: its rows by 16, for these its keys by 64. The same in all
// threads of the block.
struct DecodeCursor {
  int place = 0;  // of the item, in DecodeItems
  int num_rows = 0, first_row = 0;
  int begin = 0, key = 0, end = 0;  // keys of the split, and the tile's first

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
// bytes of each. In three steps, so that no copy waits for the block table: Find reads it, a thread
// for each key, Keep leaves the places for all, and Start copies from there.
//
// Keys behind the last are copies of it, and masked. Rows of 8 bits come as they are, and the
// thread that copied a part widens it.
template <typename Types>
class TileCopies {
 public:
  using Kv = typename Types::Kv;
  // Where keys lie, in chunks from the cache's begin: of a tile that is being copied, and the next.
  using Places = uint32_t[2][kTileKeys];
  static constexpr bool kWidens = Types::kBytes;
  static constexpr int kChunks = Types::kHeadDim * static_cast<int>(sizeof(Kv)) / 16;
  // Chunks that share a scale: those of a row, where one warp has them.
  static constexpr int kPerScale = kWarpSize % kChunks == 0 ? kChunks : 1;
  static constexpr int kScalesOffset = kTileKeys * kChunks * 16;
  // Of a tile's keys, or values, as they come.
  static constexpr int kBytes =
      kWidens ? kScalesOffset + kTileKeys * kChunks / kPerScale * static_cast<int>(sizeof(float))
              : Types::TileBytes(Types::kHeadDim);

  __device__ TileCopies(const PagedProblem<Types>& problem, Places& places)
      : problem_(problem), places_(places) {}

  // The sequence and KV head of what is found and copied from now on.
  __device__ __forceinline__ void Enter(const SplitRows& rows) {
    block_table_ =
        problem_.block_table + static_cast<int64_t>(rows.first_seq) * problem_.max_blocks;
    kv_head_ = rows.first.kv_head;
    num_keys_ = rows.first.context_len;
  }

  __device__ __forceinline__ void Find(int first_key) {
    const int key = min(first_key + static_cast<int>(threadIdx.x) % kTileKeys, num_keys_ - 1);
    const int block = problem_.by_block.Quotient(key);
    in_block_ = problem_.by_block.Remainder(key, block);
    block_ = block_table_[block];
  }
  __device__ __forceinline__ void Keep() {
    parity_ ^= 1;
    if (threadIdx.x < kTileKeys) {
      const int slot = block_ * problem_.block_size + in_block_;
      places_[parity_][threadIdx.x] =
          static_cast<uint32_t>(slot * problem_.num_kv_heads + kv_head_) * kChunks;
    }
  }

  // Starts the copies of the tile that was kept last: keys are one group, values the next.
  __device__ __forceinline__ void Start(char* keys, char* values) const {
    const int64_t rows = problem_.num_slots * problem_.num_kv_heads;
    CopySide(problem_.kv_cache, problem_.kv_scales, keys);
    CommitCopies();
    CopySide(problem_.kv_cache + rows * Types::kHeadDim, problem_.kv_scales + rows, values);
    CommitCopies();
  }

  // Of keys or values that have come, to bf16.
  __device__ __forceinline__ void Widen(const char* raw, char* tile) const {
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
        auto* out = reinterpret_cast<uint4*>(tile + RowOf(j) * kPitch + ChunkOf(j) * 32);
        const bool fp8 = problem_.fp8;
        const uint2 a = FourToBf16(bytes.x, fp8, scale), b = FourToBf16(bytes.y, fp8, scale);
        const uint2 c = FourToBf16(bytes.z, fp8, scale), d = FourToBf16(bytes.w, fp8, scale);
        const uint4 low{a.x, a.y, b.x, b.y}, high{c.x, c.y, d.x, d.y};
        // Eight lanes that write at one time meet all banks once.
        const int first = threadIdx.x / 4 % 2;
        out[first] = first == 0 ? low : high;
        out[1 - first] = first == 0 ? high : low;
      }
    }
  }

 private:
  static constexpr int kPieces = (kTileKeys * kChunks + kDecodeThreads - 1) / kDecodeThreads;

  // Thread t has pieces t, t + kDecodeThreads, ... of a tile, row by row. Mostly a thread's are the
  // same chunk of rows that are as far apart as each other.
  static constexpr bool kSameChunk = kDecodeThreads % kChunks == 0;
  __device__ static int PieceOf(int j) {
    return j * kDecodeThreads + static_cast<int>(threadIdx.x);
  }
  __device__ static int RowOf(int j) {
    return kSameChunk ? j * (kDecodeThreads / kChunks) + static_cast<int>(threadIdx.x / kChunks)
                      : static_cast<int>(static_cast<unsigned>(PieceOf(j)) / kChunks);
  }
  __device__ static int ChunkOf(int j) {
    return static_cast<int>((kSameChunk ? threadIdx.x : static_cast<unsigned>(PieceOf(j))) %
                            kChunks);
  }
  __device__ static bool Exists(int j) {
    return kTileKeys * kChunks % kDecodeThreads == 0 || RowOf(j) < kTileKeys;
  }

  __device__ __forceinline__ void CopySide(const Kv* cache, const float* scales, char* to) const {
    const auto* chunks = reinterpret_cast<const char*>(cache);
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      if (!Exists(j)) break;
      const int i = PieceOf(j), row = RowOf(j), byte = ChunkOf(j) * 16;
      const uint32_t place = places_[parity_][row];
      CopyAsync16(kWidens ? to + i * 16 : to + row * Types::Pitch(Types::kHeadDim) + byte,
                  chunks + byte + uint64_t{place} * 16);
      if (kWidens && i % kPerScale == 0) {
        CopyAsync4(to + kScalesOffset + i / kPerScale * 4, scales + place / kChunks, 4);
      }
    }
  }

  const PagedProblem<Types>& problem_;
  Places& places_;
  const int32_t* block_table_ = nullptr;
  int kv_head_ = 0, num_keys_ = 0;
  int block_ = 0, in_block_ = 0;  // of the tile that was found last
  int parity_ = 0;
};

// The shared memory of a block.
template <typename Types>
struct DecodeMemory {
  using Copies = TileCopies<Types>;
  static constexpr int kTileBytes = Types::TileBytes(Types::kHeadDim);
  static constexpr int kWeightPitch = kTileKeys * 2 + kPadBytes;
  alignas(16) char ring[kRingTiles][2][Copies::kBytes];
  // With 8 bits: the tile at hand, widened.
  alignas(16) char widened[Copies::kWidens ? 2 * kTileBytes : 16];
  alignas(16) char weights[kWarpRows * kWeightPitch];  // bf16
  float max[kDecodeWarps][kWarpRows];                  // of each warp's keys
  DecodeList<kDecodeThreads> list;
  DecodeItems items;
  typename Copies::Places places;
  int upcoming;       // the item that comes after those that are being copied
  uint32_t complete;  // FinishItem's

  __device__ char* keys(int tile) { return Copies::kWidens ? widened : ring[tile][0]; }
  __device__ char* values(int tile) {
    return Copies::kWidens ? widened + kTileBytes : ring[tile][1];
  }
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
