// Brings tiles of keys and values into shared memory for the warps of a block, and runs each warp's
// queries over them (attention_warp.h). Keys of the next tile arrive while the values of this one
// are used, and the other way round.
#pragma once

#include "kernels/cuda/attention_warp.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Where a sequence's keys lie: in the blocks of its block table, or in rows of one tensor.
template <typename Kv>
struct KeyRows {
  const Kv* keys;  // of the KV head at hand, in slot or row 0
  const Kv* values;
  const int32_t* block_table;  // null: key j is row j
  int block_size;
  int64_t row_stride;  // elements
  int num_keys;        // those after it are zeros

  __device__ __forceinline__ int64_t Offset(int key) const {
    if (key >= num_keys) return -1;
    if (block_table == nullptr) return key * row_stride;
    const int64_t slot = int64_t{block_table[key / block_size]} * block_size + key % block_size;
    return slot * row_stride;
  }
};

template <typename Types, int kWarps>
class TileLoop {
 public:
  using Kv = typename Types::Kv;

  static int SharedBytes(int head_dim) {
    return kTileKeys * static_cast<int>(sizeof(int64_t)) + 2 * Types::TileBytes(head_dim) +
           kWarps * Types::WarpBytes(head_dim);
  }

  __device__ TileLoop(char* shared, int head_dim)
      : offsets_(reinterpret_cast<int64_t*>(shared)),
        keys_(shared + kTileKeys * sizeof(int64_t)),
        values_(keys_ + Types::TileBytes(head_dim)),
        head_dim_(head_dim) {}

  // This warp's own memory, WarpBytes of it.
  __device__ float* WarpMemory() const {
    return reinterpret_cast<float*>(values_ + Types::TileBytes(head_dim_) +
                                    threadIdx.x / kWarpSize * Types::WarpBytes(head_dim_));
  }

  // Tiles [begin, end), begin < end. visible[r]: the keys that row r of the lane's two may see,
  // from key 0. after_tile(tile) is called with each tile done. All warps of the block take part.
  template <typename AfterTile>
  __device__ void Run(const KeyRows<Kv>& rows,
                      int begin,
                      int end,
                      const int (&visible)[2],
                      const WarpQueries<Types>& queries,
                      RowStates<Types>& state,
                      AfterTile&& after_tile) {
    // The tiles may still be read by a warp that is not done with the call before.
    Meet();
    FindRows(rows, begin);
    CopyRows(rows.keys, keys_);
    CopyRows(rows.values, values_);
    int most = max(visible[0], visible[1]);
    for (int step = 4; step < kWarpSize; step *= 2) {
      most = max(most, __shfl_xor_sync(kAllLanes, most, step));
    }
    for (int tile = begin; tile < end; ++tile) {
      const int first_key = tile * kTileKeys;
      const bool any = first_key < most;  // for a row of this warp
      const int left[2] = {visible[0] - first_key, visible[1] - first_key};
      float scores[kKeyTiles][4];
      WaitForCopies<1>();
      Meet();
      if (any) queries.Score(keys_, max(left[0], left[1]), scores);
      Meet();
      const bool more = tile + 1 < end;
      if (more) FindRows(rows, tile + 1);
      if (more) CopyRows(rows.keys, keys_);
      if (!more) CommitCopies();
      if (any) queries.Weigh(left, scores, state);
      WaitForCopies<1>();
      Meet();
      if (any) queries.AddValues(values_, max(left[0], left[1]), scores, state);
      Meet();
      if (more) CopyRows(rows.values, values_);
      if (!more) CommitCopies();
      after_tile(tile);
    }
    WaitForCopies<0>();
  }

 private:
  static constexpr int kThreads = kWarps * kWarpSize;

  __device__ __forceinline__ static void Meet() {
    if constexpr (kWarps == 1) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }

  __device__ __forceinline__ void FindRows(const KeyRows<Kv>& rows, int tile) {
    for (int i = threadIdx.x; i < kTileKeys; i += kThreads) {
      offsets_[i] = rows.Offset(tile * kTileKeys + i);
    }
    Meet();
  }

  // Starts the copies of one tile's rows, as one group.
  __device__ __forceinline__ void CopyRows(const Kv* from, char* to) {
    const int row_bytes = head_dim_ * static_cast<int>(sizeof(Kv));
    const int pitch = Types::Pitch(head_dim_), chunks = row_bytes / 16;
    for (int i = threadIdx.x; i < kTileKeys * chunks; i += kThreads) {
      const int row = i / chunks, byte = i % chunks * 16;
      const int64_t offset = offsets_[row];
      const char* source = reinterpret_cast<const char*>(from + max(offset, int64_t{0})) + byte;
      CopyAsync16(to + row * pitch + byte, source, offset < 0 ? 0 : 16);
    }
    CommitCopies();
  }

  int64_t* offsets_;  // of the tile's rows; negative: zeros
  char* keys_;
  char* values_;
  int head_dim_;
};

// Calls fn(AttentionTypes) for the dtypes and head_dim. kUnimplemented where there is no kernel.
template <typename Fn>
Status WithAttentionTypes(DType a, DType kv, int64_t head_dim, Fn&& fn) {
  if (a == DType::kBf16 && kv == DType::kBf16) {
    switch (head_dim) {
      case 16:
        return fn(AttentionTypes<DeviceBf16, DeviceBf16, 16>{});
      case 32:
        return fn(AttentionTypes<DeviceBf16, DeviceBf16, 32>{});
      case 64:
        return fn(AttentionTypes<DeviceBf16, DeviceBf16, 64>{});
      case 80:
        return fn(AttentionTypes<DeviceBf16, DeviceBf16, 80>{});
      case 128:
        return fn(AttentionTypes<DeviceBf16, DeviceBf16, 128>{});
      default:
        return Unimplemented("head_dim is ", head_dim,
                             "; there are kernels for 16, 32, 64, 80 and 128");
    }
  }
  if (head_dim % 8 != 0 || head_dim > kMaxHeadDim) {
    return Unimplemented("head_dim is ", head_dim, "; there are kernels for multiples of 8 up to ",
                         kMaxHeadDim);
  }
  if (a == DType::kBf16) return fn(AttentionTypes<DeviceBf16, float, 0>{});
  if (kv == DType::kBf16) return fn(AttentionTypes<float, DeviceBf16, 0>{});
  return fn(AttentionTypes<float, float, 0>{});
}

inline Status CheckAligned16(std::string_view name, const TensorView& tensor) {
  if (reinterpret_cast<uintptr_t>(tensor.data()) % 16 == 0) return OkStatus();
  return Unimplemented(name, " does not begin at a multiple of 16 bytes");
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
