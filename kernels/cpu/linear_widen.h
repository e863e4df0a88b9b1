// Panels of codes as floats, for an instruction set S.
//
//   fp8     [in_features][32], in order; what they are is scaled when all is summed
//   4 bits  [in_features][16]: column i below and column 16 + i above. A group's word for a column
//           is its zero, as bf16, below and its scale, bf16, above.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/linear_kernels.h"

namespace longhand::kernels::cpu {

template <PanelFormat kFormat>
struct FormatConstant {
  static constexpr PanelFormat value = kFormat;
};

// k .. k + depth - 1 of a panel, to out[depth][32].
template <typename S, PanelFormat kFormat>
LONGHAND_INLINE void Widen(
    const LinearTask& task, int64_t panel, int64_t k, int64_t depth, float* out) {
  constexpr int64_t kBytes = RowBytes(kFormat);
  const auto* codes =
      reinterpret_cast<const uint8_t*>(task.weight) + (panel * task.in_features + k) * kBytes;
  // Some memory accesses ahead; a stream of its own for each panel.
  constexpr int64_t kAhead = 1024;
  if constexpr (kFormat == PanelFormat::kBf16) {
    for (int64_t i = 0; i < depth; ++i, codes += kBytes, out += kPanelColumns) {
      S::Store(out, S::LowHalves(codes));
      S::Store(out + 16, S::HighHalves(codes));
    }
    return;
  } else if constexpr (kFormat != PanelFormat::kInt4) {
    for (int64_t i = 0; i < depth; ++i, codes += kBytes, out += kPanelColumns) {
      if (i % 2 == 0) S::Prefetch(reinterpret_cast<const char*>(codes) + kAhead);
      S::Store(out, S::LoadFp8(codes));
      S::Store(out + 16, S::LoadFp8(codes + 16));
    }
    return;
  } else {
    const int64_t num_groups = task.in_features / task.group_size;
    const int64_t end = k + depth;
    while (k < end) {
      const int64_t group = k / task.group_size;
      const int64_t group_end = (group + 1) * task.group_size;
      const uint32_t* words = task.groups + (panel * num_groups + group) * kPanelColumns;
      const typename S::F zero[2] = {S::LowHalves(words), S::LowHalves(words + 16)};
      const typename S::F scale[2] = {S::HighHalves(words), S::HighHalves(words + 16)};
      for (; k < end && k < group_end; ++k, codes += kBytes, out += kPanelColumns) {
        if (k % 4 == 0) S::Prefetch(reinterpret_cast<const char*>(codes) + kAhead);
        typename S::F low, high;
        S::LoadNibbles(codes, low, high);
        S::Store(out, S::RoundToBf16(S::Mul(S::Sub(low, zero[0]), scale[0])));
        S::Store(out + 16, S::RoundToBf16(S::Mul(S::Sub(high, zero[1]), scale[1])));
      }
    }
  }
}

}  // namespace longhand::kernels::cpu
