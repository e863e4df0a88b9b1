// The part of Linear that is compiled for each instruction set; linear_kernel.h says how it works.
#pragma once

#include <cstdint>

namespace longhand::kernels::cpu {

inline constexpr int64_t kPanelColumns = 32;
// Along k: a widened panel of 256 x 32 floats takes 32 KiB of L1.
inline constexpr int64_t kBlockDepth = 256;
// Rows that share one packing of x: 480 x 256 floats take 480 KiB of L2; a multiple of every kRows.
inline constexpr int64_t kMaxTaskRows = 480;
inline constexpr int64_t kLinearScratchFloats = (kPanelColumns + kMaxTaskRows) * kBlockDepth;

struct LinearTask {
  const char* weight = nullptr;  // panels
  bool bf16 = false;
  int64_t in_features = 0;
  int64_t out_features = 0;
  const float* x = nullptr;  // Stream: packed; Multiply: [num_rows, in_features]
  int64_t num_rows = 0;
  const float* bias = nullptr;
  float* out = nullptr;  // [num_rows, out_features]
};

struct LinearKernels {
  int stream_rows;  // most rows that Stream takes
  void (*stream)(const LinearTask& task, int64_t panel_begin, int64_t panel_end);
  // num_rows <= kMaxTaskRows; scratch has kLinearScratchFloats.
  void (*multiply)(const LinearTask& task, int64_t panel_begin, int64_t panel_end, float* scratch);
  // rows <= 16: x [rows][depth] with `stride` floats a row, to packed [depth][rows].
  void (*pack_rows)(const float* x, int64_t stride, int rows, int64_t depth, float* packed);
};

const LinearKernels& LinearAvx512();
const LinearKernels& LinearAvx2();

}  // namespace longhand::kernels::cpu
