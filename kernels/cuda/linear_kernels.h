// The three kernels of Linear; linear.cu chooses.
#pragma once

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/packed_weight.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// bf16 x and weight, tensor cores. Both sum a row alike, so the choice never shows in its bits.
constexpr int64_t kMaxSkinnyRows = 64;
Status LinearSkinny(Context& context, const LinearArgs& args, const PackedWeight& weight);
Status LinearTiled(Context& context, const LinearArgs& args, const PackedWeight& weight);

// The tensors of both.
struct TensorCoreProblem {
  const DeviceBf16* x;
  const DeviceBf16* weight;
  const float* bias;
  int64_t num_tokens, in_features, out_features;
  KParts parts;
};

inline TensorCoreProblem MakeProblem(const LinearArgs& args, const PackedWeight& weight) {
  return {Elements<DeviceBf16>(args.x), weight.data<DeviceBf16>(),
          Elements<float>(args.bias),   args.x.dim(0),
          weight.in_features(),         weight.out_features(),
          PartsOf(weight.in_features())};
}

// f32 on either side: one chain of multiply-adds over k.
Status LinearFloat(Context& context, const LinearArgs& args, const PackedWeight& weight);

}  // namespace longhand::kernels::LONGHAND_DEVICE
