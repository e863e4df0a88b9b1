// Brings tiles of keys and values into shared memory for the warps of a block, and runs each warp's
// queries over them (attention_warp.h). The next tile arrives while this one is used.
#pragma once

#include "kernels/cuda/attention_warp.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Keys, or values, of the KV head at hand: those in slot or row 0.
template <typename Kv>
struct HeadSide {
  const Kv* elements;
  const float* scales;  // with 8 bits
};

// Where a sequence's keys lie: in the blocks of its block table, or in rows of one tensor.
template <typename Kv>
struct KeyRows {
  HeadSide<Kv> keys, values;
  const int32_t* block_table;  // null: key j is row j
  int block_size;
  int block_shift;     // where block_size is a power of two; else -1
  int64_t row_stride;  // elements
  int num_keys;        // those after it are zeros
  int scale_stride;    // of scales, from slot to slot
  bool fp8;            // 8 bits are fp8, not int8

  // The block of a key, for SlotOf; -1 for a key that does not exist.
  __device__ __forceinline__ int Block(int key) const {
    if (key >= num_keys) return -1;
    if (block_table == nullptr) return 0;
    return block_table[block_shift >= 0 ? key >> block_shift : key / block_size];
  }
  // Which row of `keys` it is; -1 for a key that does not exist.
  __device__ __forceinline__ int SlotOf(int block, int key) const {
    if (block < 0) return -1;
    if (block_table == nullptr) return key;
    return block * block_size + (block_shift >= 0 ? key & (block_size - 1) : key % block_size);
  }
};

// Brings kKeys rows into shared memory, by all threads of a block. With tensor cores a thread finds
// a row's slot for all, in two steps so that no copy waits for the block table: Find reads it, Keep
// puts the slot into shared memory. Two sets of slots, `parity` 0 and 1, take turns.
//
// Rows of 8 bits come as they are into memory of their own, `raw`, and the thread that copied a
// part widens it (Widen), once it is there.
template <typename Types, int kKeys, int kThreads>
class RowCopies {
 public:
  using Kv = typename Types::Kv;
  static constexpr int kSharedBytes =
      Types::kTensorCores ? 2 * kKeys * static_cast<int>(sizeof(int32_t)) : 0;
  static constexpr bool kWidens = Types::kTensorCores && Types::kBytes;
  static constexpr int kChunks = Types::kHeadDim * static_cast<int>(sizeof(Kv)) / 16;
  // Chunks that share a scale: those of a row, where one warp has them.
  static constexpr int kPerScale = kWarpSize % kChunks == 0 ? kChunks : 1;
  static constexpr int kScalesOffset = kKeys * kChunks * 16;
  // Of `raw`.
  static constexpr int kRawBytes =
      kWidens ? kScalesOffset + kKeys * kChunks / kPerScale * static_cast<int>(sizeof(float)) : 0;

  __device__ explicit RowCopies(char* shared) : slots_(reinterpret_cast<int32_t*>(shared)) {}

  __device__ __forceinline__ void Find(const KeyRows<Kv>& rows, int first_key) {
    if constexpr (Types::kTensorCores) {
#pragma unroll
      for (int j = 0; j < kMine; ++j) {
        const int i = j * kThreads + static_cast<int>(threadIdx.x);
        block_[j] = i < kKeys ? rows.Block(first_key + i) : -1;
      }
    }
  }
  __device__ __forceinline__ void Keep(const KeyRows<Kv>& rows, int first_key, int parity) {
    if constexpr (Types::kTensorCores) {
#pragma unroll
      for (int j = 0; j < kMine; ++j) {
        const int i = j * kThreads + static_cast<int>(threadIdx.x);
        if (i < kKeys) slots_[parity * kKeys + i] = rows.SlotOf(block_[j], first_key + i);
      }
    }
  }

  // Starts the copies as one group.
  __device__ __forceinline__ void Copy(const KeyRows<Kv>& rows,
                                       const HeadSide<Kv>& from,
                                       int first_key,
                                       int parity,
                                       int head_dim,
                                       char* to,
                                       char* raw) const {
    const int pitch = Types::Pitch(head_dim);
    if constexpr (Types::kTensorCores) {
      [[maybe_unused]] constexpr int kUnroll = (kKeys * kChunks) % kThreads == 0 ? 4 : 1;
#pragma unroll kUnroll
      for (int j = 0; j < kKeys * kChunks; j += kThreads) {
        const int i = j + static_cast<int>(threadIdx.x), row = i / kChunks, byte = i % kChunks * 16;
        if ((kKeys * kChunks) % kThreads != 0 && row >= kKeys) break;
        const int slot = slots_[parity * kKeys + row];
        if constexpr (kWidens) {
          CopyRow(rows, from, slot, byte, raw + i * 16);
          if (i % kPerScale == 0) {
            CopyAsync4(raw + kScalesOffset + i / kPerScale * 4,
                       from.scales + (slot < 0 ? 0 : int64_t{slot} * rows.scale_stride),
                       slot < 0 ? 0 : 4);
          }
        } else {
          CopyRow(rows, from, slot, byte, to + row * pitch + byte);
        }
      }
    } else if constexpr (Types::kBytes) {
      const int fours = head_dim / 4;
      for (int i = threadIdx.x; i < kKeys * fours; i += kThreads) {
        const int row = i / fours, d = i % fours * 4, key = first_key + row;
        const int slot = rows.SlotOf(rows.Block(key), key);
        float4 four{0, 0, 0, 0};
        if (slot >= 0) {
          four =
              FourOf(*reinterpret_cast<const uint32_t*>(from.elements + slot * rows.row_stride + d),
                     rows.fp8, from.scales[int64_t{slot} * rows.scale_stride]);
        }
        *reinterpret_cast<float4*>(to + row * pitch + d * 4) = four;
      }
    } else {
      const int chunks = head_dim * static_cast<int>(sizeof(Kv)) / 16;
      for (int i = threadIdx.x; i < kKeys * chunks; i += kThreads) {
        const int row = i / chunks, byte = i % chunks * 16, key = first_key + row;
        CopyRow(rows, from, rows.SlotOf(rows.Block(key), key), byte, to + row * pitch + byte);
      }
    }
    CommitCopies();
  }

  // Rows of 8 bits that this thread's copies brought, to bf16. They have been waited for.
  __device__ __forceinline__ void Widen(const KeyRows<Kv>& rows, const char* raw, char* to) const {
    if constexpr (kWidens) {
      constexpr int kPitch = Types::Pitch(Types::kHeadDim);
      __syncwarp();  // a row's scale came with another thread's copies
      for (int j = 0; j < kKeys * kChunks; j += kThreads) {
        const int i = j + static_cast<int>(threadIdx.x), row = i / kChunks;
        if ((kKeys * kChunks) % kThreads != 0 && row >= kKeys) break;
        const uint4 bytes = *reinterpret_cast<const uint4*>(raw + i * 16);
        const float scale =
            *reinterpret_cast<const float*>(raw + kScalesOffset + i / kPerScale * 4);
        auto* out = reinterpret_cast<uint4*>(to + row * kPitch + i % kChunks * 32);
        const uint2 a = FourToBf16(bytes.x, rows.fp8, scale);
        const uint2 b = FourToBf16(bytes.y, rows.fp8, scale);
        const uint2 c = FourToBf16(bytes.z, rows.fp8, scale);
        const uint2 d = FourToBf16(bytes.w, rows.fp8, scale);
        out[0] = {a.x, a.y, b.x, b.y};
        out[1] = {c.x, c.y, d.x, d.y};
      }
    }
  }

 private:
  __device__ __forceinline__ static void CopyRow(
      const KeyRows<Kv>& rows, const HeadSide<Kv>& from, int slot, int byte, char* to) {
    const int64_t offset = slot < 0 ? 0 : slot * rows.row_stride;
    CopyAsync16(to, reinterpret_cast<const char*>(from.elements + offset) + byte,
                slot < 0 ? 0 : 16);
  }

  static constexpr int kMine = (kKeys + kThreads - 1) / kThreads;  // keys that a thread finds

  int32_t* slots_;  // [2, kKeys]
  int block_[kMine];
};

template <typename Types, int kWarps>
class TileLoop {
 public:
  using Kv = typename Types::Kv;

  static int SharedBytes(int head_dim) {
    return kStages * 2 * Types::TileBytes(head_dim) + 2 * Copies::kRawBytes + Copies::kSharedBytes +
           kWarps * Types::WarpBytes(head_dim);
  }

  __device__ TileLoop(char* shared, int head_dim) : stages_(shared), head_dim_(head_dim) {}

  // This warp's own memory, WarpBytes of it.
  __device__ float* WarpMemory() const {
    return reinterpret_cast<float*>(Slots() + Copies::kSharedBytes +
                                    threadIdx.x / kWarpSize * Types::WarpBytes(head_dim_));
  }

  // Tiles [begin, end), begin < end. visible[r]: the keys that row r of the lane's two may see,
  // from key 0. after_tile(tile) is called with each tile done. All warps of the block take part.
  template <typename AfterTile>
  __device__ __forceinline__ void Run(const KeyRows<Kv>& rows,
                                      int begin,
                                      int end,
                                      const int (&visible)[2],
                                      const WarpQueries<Types>& queries,
                                      RowStates<Types>& state,
                                      AfterTile&& after_tile) {
    const int tile_bytes = Types::TileBytes(head_dim_);
    Copies copies(Slots());
    const auto bring = [&](int tile, char* stage) {
      const int key = tile * kTileKeys, parity = tile % 2;
      copies.Copy(rows, rows.keys, key, parity, head_dim_, stage, Raw(0));
      copies.Copy(rows, rows.values, key, parity, head_dim_, stage + tile_bytes, Raw(1));
    };
    const auto find = [&](int tile) {
      copies.Find(rows, tile * kTileKeys);
      copies.Keep(rows, tile * kTileKeys, tile % 2);
    };
    // The stages may still be read by a warp that is not done with the call before.
    Meet();
    find(begin);
    if (begin + 1 < end) find(begin + 1);
    Meet();
    bring(begin, stages_);
    int most = max(visible[0], visible[1]), least = min(visible[0], visible[1]);
    for (int step = 4; step < kWarpSize; step *= 2) {
      most = max(most, __shfl_xor_sync(kAllLanes, most, step));
      least = min(least, __shfl_xor_sync(kAllLanes, least, step));
    }
    for (int tile = begin; tile < end; ++tile) {
      char* stage = stages_ + (tile - begin) % kStages * 2 * tile_bytes;
      const int first_key = tile * kTileKeys;
      WaitForCopies<0>();
      copies.Widen(rows, Raw(0), stage);
      copies.Widen(rows, Raw(1), stage + tile_bytes);
      Meet();
      if (kStages > 1 && tile + 1 < end) {
        bring(tile + 1, stages_ + (tile + 1 - begin) % kStages * 2 * tile_bytes);
      }
      copies.Find(rows, (tile + 2) * kTileKeys);
      if (first_key < most) {  // for a row of this warp
        const int left[2] = {visible[0] - first_key, visible[1] - first_key};
        const int lane_most = max(left[0], left[1]);
        float scores[kKeyTiles][4];
        queries.Score(stage, lane_most, scores);
        if (first_key + kTileKeys > least) Mask(left, scores);
        queries.Weigh(scores, state);
        queries.AddValues(stage + tile_bytes, lane_most, scores, state);
      }
      if (kStages == 1 && tile + 1 < end) {
        Meet();
        bring(tile + 1, stages_);
      }
      copies.Keep(rows, (tile + 2) * kTileKeys, tile % 2);
      after_tile(tile);
    }
  }

 private:
  static constexpr int kStages = Types::kTensorCores ? 2 : 1;
  using Copies = RowCopies<Types, kTileKeys, kWarps * kWarpSize>;

  // Of keys, and of values.
  __device__ char* Raw(int side) const {
    return stages_ + kStages * 2 * Types::TileBytes(head_dim_) + side * Copies::kRawBytes;
  }
  __device__ char* Slots() const { return Raw(2); }

  __device__ __forceinline__ static void Meet() {
    if constexpr (kWarps == 1) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }

  char* stages_;  // each a tile of keys and one of values
  int head_dim_;
};

// Calls fn(AttentionTypes) for bf16 queries and the head_dim.
template <typename Kv, typename Fn>
Status WithTensorCores(int64_t head_dim, Fn&& fn) {
  switch (head_dim) {
    case 16:
      return fn(AttentionTypes<DeviceBf16, Kv, 16>{});
    case 32:
      return fn(AttentionTypes<DeviceBf16, Kv, 32>{});
    case 64:
      return fn(AttentionTypes<DeviceBf16, Kv, 64>{});
    case 80:
      return fn(AttentionTypes<DeviceBf16, Kv, 80>{});
    case 128:
      return fn(AttentionTypes<DeviceBf16, Kv, 128>{});
    default:
      return Unimplemented("head_dim is ", head_dim,
                           "; there are kernels for 16, 32, 64, 80 and 128");
  }
}

// Calls fn(AttentionTypes) for the dtypes and head_dim. kUnimplemented where there is no kernel.
template <typename Fn>
Status WithAttentionTypes(DType a, DType kv, int64_t head_dim, Fn&& fn) {
  if (a == DType::kBf16 && kv == DType::kBf16) return WithTensorCores<DeviceBf16>(head_dim, fn);
  if (a == DType::kBf16 && HasKvScales(kv)) return WithTensorCores<KvByte>(head_dim, fn);
  if (head_dim % 8 != 0 || head_dim > kMaxHeadDim) {
    return Unimplemented("head_dim is ", head_dim, "; there are kernels for multiples of 8 up to ",
                         kMaxHeadDim);
  }
  if (a == DType::kBf16) return fn(AttentionTypes<DeviceBf16, float, 0>{});
  if (HasKvScales(kv)) return fn(AttentionTypes<float, KvByte, 0>{});
  if (kv == DType::kBf16) return fn(AttentionTypes<float, DeviceBf16, 0>{});
  return fn(AttentionTypes<float, float, 0>{});
}

inline Status CheckAligned16(std::string_view name, const TensorView& tensor) {
  if (reinterpret_cast<uintptr_t>(tensor.data()) % 16 == 0) return OkStatus();
  return Unimplemented(name, " does not begin at a multiple of 16 bytes");
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
