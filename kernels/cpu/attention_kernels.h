// The part of attention that is compiled for each instruction set; attention_kernel.h says how it
// works.
#pragma once

#include <cstdint>

namespace longhand::kernels::cpu {

// Keys are cut at multiples of these absolute positions, whatever the batch and the chunks: a tile
// is one step of the online softmax, a split has its own softmax state and can run on another
// thread.
inline constexpr int64_t kTileKeys = 64;
inline constexpr int64_t kSplitKeys = 256;
// Rows of a task, and sizes of its scratch.
inline constexpr int64_t kMaxTaskQueries = 192;
inline constexpr int64_t kMaxHeadDim = 256;

enum class KvFormat : uint8_t { kF32, kBf16, kInt8 };

// Queries of one key/value head: row r = token * group + head within the group.
struct AttentionTask {
  const float* query = nullptr;  // first token's first head of the group; heads lie side by side
  int64_t query_stride = 0;      // floats from token to token
  int64_t num_tokens = 0;
  int64_t group = 1;
  int64_t head_dim = 0;
  float scale = 0;

  const char* keys = nullptr;  // this head's, of slot 0
  const char* values = nullptr;
  KvFormat format = KvFormat::kF32;
  int64_t slot_bytes = 0;             // from slot to slot
  const float* key_scales = nullptr;  // of kInt8, as keys and values
  const float* value_scales = nullptr;
  int64_t scale_stride = 0;         // floats from slot to slot
  const int32_t* blocks = nullptr;  // null: key j is in slot j
  int64_t block_size = 0;
  // Keys that token 0 sees; token t sees t more, as far as there are keys.
  int64_t first_visible = 0;
};

inline constexpr int64_t kSumLanes = 16;

// Softmax state of a task's rows: the largest score, the sums of e^(score - largest) by lane,
// [rows][16], and the sum of the values so weighted, [rows][head_dim].
struct AttentionState {
  float* max = nullptr;
  float* sum = nullptr;
  float* values = nullptr;

  // In one piece of memory.
  static int64_t NumFloats(int64_t rows, int64_t head_dim) {
    return rows * (head_dim + 1 + kSumLanes);
  }
  static AttentionState At(float* memory, int64_t rows) {
    return {memory, memory + rows, memory + (1 + kSumLanes) * rows};
  }
};

inline constexpr int64_t kAttentionScratchFloats =
    2 * kTileKeys * kMaxHeadDim + 16 * kTileKeys + 256;

struct AttentionKernels {
  // The task's queries times scale, in the order that `attend` reads: num_rows * head_dim floats.
  void (*pack_queries)(const AttentionTask& task, float* packed);
  // The state over keys [key_begin, key_end): one split. Keys up to ahead_end are next.
  void (*attend)(const AttentionTask& task,
                 const float* packed,
                 int64_t key_begin,
                 int64_t key_end,
                 int64_t ahead_end,
                 float* scratch,
                 const AttentionState& state);
  // total = total and the split after it.
  void (*join)(const AttentionState& total,
               const AttentionState& split,
               int64_t rows,
               int64_t head_dim);
  // One row's result: values / sum.
  void (*finish)(const AttentionState& state, int64_t row, int64_t head_dim, float* out);
};

const AttentionKernels& AttentionAvx512();
const AttentionKernels& AttentionAvx2();

}  // namespace longhand::kernels::cpu
