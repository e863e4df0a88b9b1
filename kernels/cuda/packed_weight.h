// The layout of weights, and the parts in which a row's dot product is summed.
//
// bf16: blocks of 16 features and 64 k, two atoms of eight rows of 128 bytes each, as ldmatrix and
// wgmma read them from shared memory: a copy needs no rearranging and no reader meets a bank twice.
//   [out_features / 16][in_features / 64][2 atoms][8 rows][8 chunks][8], padded with zeros
// Row r of atom h is feature 2 r + h of the 16, so that the two sums of a lane in rows r and r + 8
// of a product are neighbours in memory. Eight neighbours of k are a chunk; chunk c of row r is at
// place c ^ r.
//
// fp8, int4: the same blocks, but in the order in which the lanes of a warp take them from shared
// memory as operand a (weight_formats.h), and behind them the scales:
//   fp8   [out_features / 16][in_features / 64][2][32 lanes][16 bytes], [out_features] f32;
//         the order within the 16 bytes depends on whether the device multiplies fp8
//   int4  [out_features / 16][in_features / 64][2][32 lanes][8 bytes],
//         [out_features / 16][groups][16] words: 64 scale above -zero / 64, both bf16
//
// f32: [out_features][in_features], as it came.
//
// Of gates and ups (LinearLayout::kGateUp) the features alternate: gate and up of one are the two
// sums of a lane. f32 weights lie as they came and are read so (SourceRow).
#pragma once

#include <memory>
#include <utility>

#include "kernels/cuda/element.h"
#include "kernels/ops.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kTileFeatures = 16;
constexpr int kBlockK = 64;
constexpr int kAtomRows = 8;
constexpr int kChunks = kBlockK / kGroup;   // of 16 bytes
constexpr int kAtom = kAtomRows * kBlockK;  // elements
constexpr int kTileBlock = 2 * kAtom;       // of 16 features and 64 k

// Where chunk c of row r lies in its atom, in elements.
__host__ __device__ constexpr int SwizzledChunk(int r, int c) {
  return r * kBlockK + (c ^ r) * kGroup;
}

// A row's k's fall into up to eight parts. Each is summed by itself, one chain over k from 0 up,
// and the sums are added in order, whether blocks took a part each or one took all of them. The
// parts depend on in_features alone, so the bits do not depend on the number of rows.
struct KParts {
  int num_parts;
  int blocks_per_part;
  int num_blocks;
};

constexpr int kMaxParts = 8;
constexpr int64_t kLeastPart = 1024;  // k's whose weights are worth a sum of their own

inline KParts PartsOf(int64_t in_features) {
  const int64_t blocks = CeilDiv(in_features, kBlockK);
  int64_t parts = CeilDiv(in_features, kLeastPart);
  if (parts > kMaxParts) parts = kMaxParts;
  const int64_t per_part = CeilDiv(blocks, parts);
  return {static_cast<int>(CeilDiv(blocks, per_part)), static_cast<int>(per_part),
          static_cast<int>(blocks)};
}

// The row of a weight that is feature `n` as it is packed. `num_gates` is 0 but of gates and ups.
__host__ __device__ constexpr int64_t SourceRow(int64_t n, int64_t num_gates) {
  return num_gates == 0 ? n : n % 2 * num_gates + n / 2;
}

// Where the eight elements of a chunk of a packed weight in bf16 come from.
struct ChunkPlace {
  int64_t feature, first_k;
};
__host__ __device__ constexpr ChunkPlace PlaceOfChunk(int64_t chunk, int64_t in_features) {
  constexpr int kTileChunks = kTileBlock / kGroup;
  const int64_t num_blocks = CeilDiv(in_features, kBlockK);
  const int64_t block = chunk / kTileChunks % num_blocks;
  const int64_t tile = chunk / kTileChunks / num_blocks;
  const int64_t place = chunk % kChunks, r = chunk / kChunks % kAtomRows;
  const int64_t atom = chunk / (kChunks * kAtomRows) % 2;
  return {tile * kTileFeatures + 2 * r + atom, block * kBlockK + (place ^ r) * kGroup};
}

// Element (feature, k) of a packed weight.
__device__ __forceinline__ float WeightAt(const DeviceBf16* packed,
                                          int64_t feature,
                                          int64_t k,
                                          int64_t in_features) {
  const int64_t num_blocks = CeilDiv(in_features, kBlockK);
  const int row = feature % kTileFeatures, within = k % kBlockK;
  return ToFloat(
      packed[(feature / kTileFeatures * num_blocks + k / kBlockK) * kTileBlock + row % 2 * kAtom +
             SwizzledChunk(row / 2, within / kGroup) + within % kGroup]);
}
__device__ __forceinline__ float WeightAt(const float* packed,
                                          int64_t feature,
                                          int64_t k,
                                          int64_t in_features) {
  return packed[feature * in_features + k];
}

// kFp8 is multiplied as it is, by x in fp8; kWidenedFp8 and kInt4 become bf16 first.
enum class WeightFormat : uint8_t { kF32, kBf16, kFp8, kWidenedFp8, kInt4 };

// A weight on the device. Of codes, what lies from `scale_offset` on are the scales.
class PackedWeight final : public PackedLinear {
 public:
  PackedWeight(WeightFormat format,
               LinearLayout layout,
               int64_t out_features,
               int64_t in_features,
               std::unique_ptr<Buffer> buffer,
               int64_t scale_offset = 0,
               int64_t group_size = 0)
      : PackedLinear(layout),
        format_(format),
        out_features_(out_features),
        in_features_(in_features),
        buffer_(std::move(buffer)),
        scale_offset_(scale_offset),
        group_size_(group_size) {}

  int64_t out_features() const override { return out_features_; }
  int64_t in_features() const override { return in_features_; }
  size_t size_bytes() const override { return buffer_->size_bytes(); }
  bool is_quantized() const override { return scale_offset_ > 0; }
  WeightFormat format() const { return format_; }
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(buffer_->data());
  }
  const void* scales() const { return data<char>() + scale_offset_; }
  int64_t group_size() const { return group_size_; }
  int64_t num_gates() const { return layout() == LinearLayout::kGateUp ? out_features_ / 2 : 0; }

 private:
  WeightFormat format_;
  int64_t out_features_, in_features_;
  std::unique_ptr<Buffer> buffer_;
  int64_t scale_offset_, group_size_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
