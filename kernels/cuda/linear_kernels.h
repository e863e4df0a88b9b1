// The three kernels of Linear; linear.cu chooses.
#pragma once

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/packed_weight.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// bf16 x and weight, tensor cores. Both sum a row alike, so the choice never shows in its bits.
constexpr int64_t kMaxSkinnyRows = 64;
Status LinearSkinny(Context& context, const LinearArgs& args, const PackedWeight& weight);
Status LinearTiled(Context& context, const LinearArgs& args, const PackedWeight& weight);

// f32 on either side: one chain of multiply-adds over k.
Status LinearFloat(Context& context, const LinearArgs& args, const PackedWeight& weight);

}  // namespace longhand::kernels::LONGHAND_DEVICE
