// The part of Linear that is compiled for each instruction set; linear_kernel.h says how it works.
#pragma once

#include <cstdint>

namespace longhand::kernels::cpu {

inline constexpr int64_t kPanelColumns = 32;
// Few rows stream the weights by; from 5 on, blocking along k keeps the next weights coming while
// these are multiplied.
inline constexpr int64_t kMaxStreamRows = 4;
// From here on bf16 weights are widened once for all blocks of rows.
inline constexpr int64_t kMinWidenedRows = 48;
// Along k: a part of a panel of 192 x 32 weights takes 24 KiB of L1 as floats, one of a block of
// x 9.
inline constexpr int64_t kBlockDepth = 192;
// Rows and panels of one task: 384 rows of x along one part of k take 288 KiB of L2, and their sums
// in 8 panels 384.
inline constexpr int64_t kMaxTaskRows = 384;
inline constexpr int64_t kTaskPanels = 8;
inline constexpr int64_t kSumFloats = kPanelColumns * kTaskPanels * kMaxTaskRows;
// Sums, and one part of a panel as floats.
inline constexpr int64_t kLinearScratchFloats = kSumFloats + kPanelColumns * kBlockDepth;

// How a panel's elements are kept. Codes are widened before they are multiplied, but those of int8
// (int8_kernel.h).
enum class PanelFormat : uint8_t { kF32, kBf16, kFp8, kInt8, kInt4 };

// Bytes of the 32 elements of one k; int8 has groups of k's.
constexpr int64_t RowBytes(PanelFormat format) {
  return format == PanelFormat::kF32    ? 4 * kPanelColumns
         : format == PanelFormat::kBf16 ? 2 * kPanelColumns
         : format == PanelFormat::kInt4 ? kPanelColumns / 2
                                        : kPanelColumns;
}

struct LinearTask {
  const char* weight = nullptr;  // panels
  PanelFormat format = PanelFormat::kF32;
  const float* weight_scale = nullptr;  // of fp8: [panels][32]
  const uint32_t* groups = nullptr;     // of 4-bit codes: [panels][in_features / group_size][32]
  int64_t group_size = 0;
  const float* x_scale = nullptr;  // [num_rows], or null
  int64_t in_features = 0;
  int64_t out_features = 0;
  const float* x = nullptr;  // [num_rows, in_features]
  int64_t num_rows = 0;
  const float* bias = nullptr;
  float* out = nullptr;  // [num_rows, out_features]
};

struct LinearKernels {
  int block_rows;  // rows are packed in blocks of at most so many
  // num_rows <= kMaxStreamRows; `packed` is x in one block.
  void (*stream)(const LinearTask& task,
                 const float* packed,
                 int64_t panel_begin,
                 int64_t panel_end);
  // Some of the blocks of x, to `packed` [num_rows * in_features].
  void (*pack)(const LinearTask& task, int64_t block_begin, int64_t block_end, float* packed);
  // num_rows <= kMaxTaskRows; panel_end - panel_begin <= kTaskPanels; scratch has
  // kLinearScratchFloats.
  void (*multiply)(const LinearTask& task,
                   const float* packed,
                   int64_t panel_begin,
                   int64_t panel_end,
                   float* partials);
};

const LinearKernels& LinearAvx512();
const LinearKernels& LinearAvx2();

}  // namespace longhand::kernels::cpu
