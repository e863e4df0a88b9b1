// The kernels of decode attention, of which PagedDecode chooses one: all leave the same bits.
#pragma once

#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// paged_decode.cu: any types and sizes.
Status PagedDecodeByWarps(Context& context, const PagedAttentionArgs& args, Share share);

using DecodeGroupTypes = AttentionTypes<DeviceBf16, DeviceBf16, 128>;
// paged_decode_groups.cu: where wgmma has mma.sync's bits, which attention_trial.cu says.
bool MayDecodeByGroups(const PagedAttentionArgs& args);
Status PagedDecodeByGroups(Context& context, const PagedAttentionArgs& args, Share share);

}  // namespace longhand::kernels::LONGHAND_DEVICE
