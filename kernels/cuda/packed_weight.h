// The layout of weights, and the parts in which a row's dot product is summed.
//
// bf16: the fragments of mma.m16n8k16, so that a lane loads 16 bytes and a warp 512 in a row.
//   [out_features / 16][in_features / 32][2][32 lanes][8], padded with zeros
// Lane 4 g + q of the pair's half m holds, of features g and g + 8, k = 8 q + 4 m .. 8 q + 4 m + 3:
// which k meets which of the instruction's is free, as long as x agrees, and this way eight
// neighbours of x are one lane's operands of both halves.
//
// f32: [out_features][in_features], as it came.
#pragma once

#include "kernels/cuda/element.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kTileFeatures = 16;
constexpr int kBlockK = 32;
constexpr int kLaneElements = 8;
constexpr int kHalfBlock = kWarpSize * kLaneElements;  // elements
constexpr int kTileBlock = 2 * kHalfBlock;             // of 16 features and 32 k

// A row's k's fall into up to eight parts, each summed by itself and the sums added in order: one
// warp each where rows are few, one after the other where they are many, with the same bits. It
// depends on in_features alone.
struct KParts {
  int num_parts;
  int blocks_per_part;
  int num_blocks;
};

constexpr int kMaxParts = 8;
constexpr int64_t kLeastPart = 512;  // k's that are worth a warp

inline KParts PartsOf(int64_t in_features) {
  const int64_t blocks = CeilDiv(in_features, kBlockK);
  int64_t parts = CeilDiv(in_features, kLeastPart);
  if (parts > kMaxParts) parts = kMaxParts;
  return {static_cast<int>(parts), static_cast<int>(CeilDiv(blocks, parts)),
          static_cast<int>(blocks)};
}

// Element (feature, k) of a packed weight.
__device__ __forceinline__ float WeightAt(const DeviceBf16* packed,
                                          int64_t feature,
                                          int64_t k,
                                          int64_t in_features) {
  const int64_t num_blocks = CeilDiv(in_features, kBlockK);
  const int row = feature % kTileFeatures, within = k % kBlockK;
  const int lane = row % 8 * 4 + within / 8, half = within % 8 / 4;
  const int element = (within % 4 / 2 * 2 + row / 8) * 2 + within % 2;
  return ToFloat(packed[(feature / kTileFeatures * num_blocks + k / kBlockK) * kTileBlock +
                        half * kHalfBlock + lane * kLaneElements + element]);
}
__device__ __forceinline__ float WeightAt(const float* packed,
                                          int64_t feature,
                                          int64_t k,
                                          int64_t in_features) {
  return packed[feature * in_features + k];
}

// A weight on the device.
class PackedWeight final : public PackedLinear {
 public:
  PackedWeight(DType dtype,
               int64_t out_features,
               int64_t in_features,
               std::unique_ptr<Buffer> buffer)
      : dtype_(dtype),
        out_features_(out_features),
        in_features_(in_features),
        buffer_(std::move(buffer)) {}

  int64_t out_features() const override { return out_features_; }
  int64_t in_features() const override { return in_features_; }
  size_t size_bytes() const override { return buffer_->size_bytes(); }
  DType dtype() const { return dtype_; }
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(buffer_->data());
  }

 private:
  DType dtype_;
  int64_t out_features_, in_features_;
  std::unique_ptr<Buffer> buffer_;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
