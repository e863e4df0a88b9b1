// Attention: the decoder's over the paged KV cache (causal, grouped query heads), the ViT's inside
// segments.
//
//   query      [num_tokens, num_heads, head_dim]                    f32
//   kv_cache   [2, num_blocks, block_size, num_kv_heads, head_dim]  f32, bf16 or int8; 0 = keys
//   kv_scales  [2, num_blocks, block_size, num_kv_heads]            f32, with int8
//   out        [num_tokens, num_heads, head_dim]                    f32
//   qkv        of the ViT: [num_tokens, 3, num_heads, head_dim]     f32
//
// Threads    take pieces: some queries of one key/value head. Where there are too few pieces to go
//            round (decode of a few sequences), a piece's splits of 256 keys go to different
//            threads, and are joined in order after.
// Cost       decode reads keys and values once: memory. Prefill: 4 * queries * keys * head_dim
//            FLOPs a head.
// Errors     kUnimplemented for bf16 activations, an fp8 cache, and head_dim odd or above 256 (with
//            int8: no multiple of 4).
#include <algorithm>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_checks.h"

namespace longhand::kernels::cpu {
namespace {

// Splits that follow one another are a thread's, which asks for their keys ahead; so many jobs a
// thread that all end together.
constexpr int64_t kJobsOfThread = 8;
constexpr int64_t kMostSplitsOfJob = 16;

struct Piece {
  AttentionTask task;
  int64_t num_keys = 0;      // that its last token sees
  float* out = nullptr;      // of the first token's first head of the group
  int64_t out_stride = 0;    // floats from token to token
  int64_t state_offset = 0;  // of its first split, in shared scratch

  int64_t num_rows() const { return task.num_tokens * task.group; }
  int64_t num_splits() const { return (num_keys + kSplitKeys - 1) / kSplitKeys; }
  int64_t state_floats() const { return AttentionState::NumFloats(num_rows(), task.head_dim); }
};

void AttendSplit(const CpuContext& cpu,
                 const Piece& piece,
                 int64_t split,
                 int64_t ahead_end,
                 const float* packed,
                 float* scratch,
                 const AttentionState& state) {
  const int64_t begin = split * kSplitKeys;
  cpu.attention.attend(piece.task, packed, begin, std::min(begin + kSplitKeys, piece.num_keys),
                       ahead_end, scratch, state);
}

void FinishRows(const CpuContext& cpu, const Piece& piece, const AttentionState& state) {
  for (int64_t row = 0; row < piece.num_rows(); ++row) {
    float* out = piece.out + row / piece.task.group * piece.out_stride +
                 row % piece.task.group * piece.task.head_dim;
    cpu.attention.finish(state, row, piece.task.head_dim, out);
  }
}

// One thread goes through the splits of a piece.
void AttendWhole(const CpuContext& cpu, const Piece& piece, float* memory) {
  float* packed = memory + kAttentionScratchFloats;
  float* states = packed + piece.num_rows() * piece.task.head_dim;
  const auto total = AttentionState::At(states, piece.num_rows());
  const auto next = AttentionState::At(states + piece.state_floats(), piece.num_rows());
  cpu.attention.pack_queries(piece.task, packed);
  AttendSplit(cpu, piece, 0, piece.num_keys, packed, memory, total);
  for (int64_t split = 1; split < piece.num_splits(); ++split) {
    AttendSplit(cpu, piece, split, piece.num_keys, packed, memory, next);
    cpu.attention.join(total, next, piece.num_rows(), piece.task.head_dim);
  }
  FinishRows(cpu, piece, total);
}

// Splits on any thread, then joined in order: the same arithmetic as AttendWhole.
Status AttendSplits(CpuContext& cpu, std::vector<Piece>& pieces, int64_t splits_of_job) {
  struct Job {
    const Piece* piece;
    int64_t begin;
    int64_t end;
  };
  std::vector<Job> jobs;
  int64_t floats = 0;
  for (Piece& piece : pieces) {
    piece.state_offset = floats;
    floats += piece.num_splits() * piece.state_floats();
    for (int64_t begin = 0; begin < piece.num_splits(); begin += splits_of_job) {
      jobs.push_back({&piece, begin, std::min(begin + splits_of_job, piece.num_splits())});
    }
  }
  LONGHAND_RETURN_IF_ERROR(cpu.shared_scratch.Grow(static_cast<size_t>(floats) * sizeof(float)));
  const auto state_of = [&](const Piece& piece, int64_t split) {
    return AttentionState::At(
        cpu.shared_scratch.floats() + piece.state_offset + split * piece.state_floats(),
        piece.num_rows());
  };
  cpu.pool.Run(static_cast<int64_t>(jobs.size()), [&](int64_t i, int thread) {
    const auto [job_piece, begin, end] = jobs[i];
    const Piece& piece = *job_piece;
    float* memory = cpu.thread_scratch[thread].floats();
    float* packed = memory + kAttentionScratchFloats;
    cpu.attention.pack_queries(piece.task, packed);
    const int64_t ahead_end = std::min(end * kSplitKeys, piece.num_keys);
    for (int64_t split = begin; split < end; ++split) {
      AttendSplit(cpu, piece, split, ahead_end, packed, memory, state_of(piece, split));
    }
  });
  for (const Piece& piece : pieces) {
    const AttentionState total = state_of(piece, 0);
    for (int64_t split = 1; split < piece.num_splits(); ++split) {
      cpu.attention.join(total, state_of(piece, split), piece.num_rows(), piece.task.head_dim);
    }
    FinishRows(cpu, piece, total);
  }
  return OkStatus();
}

Status AttendPieces(CpuContext& cpu, std::vector<Piece>& pieces) {
  int64_t floats = 0, splits = 0;
  for (const Piece& piece : pieces) {
    floats = std::max(floats, kAttentionScratchFloats + piece.num_rows() * piece.task.head_dim +
                                  2 * piece.state_floats());
    splits += piece.num_splits();
  }
  LONGHAND_RETURN_IF_ERROR(cpu.GrowThreadScratch(floats));
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  const int64_t threads = cpu.pool.num_threads();
  if (threads > 1 && num_pieces < 4 * threads && splits > num_pieces) {
    return AttendSplits(
        cpu, pieces, std::clamp(splits / (kJobsOfThread * threads), int64_t{1}, kMostSplitsOfJob));
  }
  cpu.pool.Run(num_pieces, [&](int64_t i, int thread) {
    AttendWhole(cpu, pieces[i], cpu.thread_scratch[thread].floats());
  });
  return OkStatus();
}

// `whole` cut into pieces of so many tokens that their rows fill a task. The later ones, which see
// more keys, are first: the threads then finish together.
void AddPieces(const Piece& whole, bool causal, std::vector<Piece>& pieces) {
  const int64_t most = std::max<int64_t>(1, kMaxTaskQueries / whole.task.group);
  const int64_t num_tokens = whole.task.num_tokens;
  for (int64_t count = (num_tokens + most - 1) / most, i = count - 1; i >= 0; --i) {
    const int64_t begin = num_tokens * i / count, end = num_tokens * (i + 1) / count;
    Piece piece = whole;
    piece.task.num_tokens = end - begin;
    piece.task.query += begin * piece.task.query_stride;
    piece.out += begin * piece.out_stride;
    if (causal) {
      piece.task.first_visible += begin;
      piece.num_keys = whole.task.first_visible + end - 1;
    }
    pieces.push_back(piece);
  }
}

KvFormat FormatOf(DType kv) {
  return kv == DType::kI8 ? KvFormat::kInt8 : kv == DType::kBf16 ? KvFormat::kBf16 : KvFormat::kF32;
}

Status CheckHeadDim(int64_t head_dim) {
  if (head_dim % 2 == 0 && head_dim <= kMaxHeadDim) return OkStatus();
  return Unimplemented("head_dim is ", head_dim, "; the CPU backend takes even ones up to ",
                       kMaxHeadDim);
}

}  // namespace

Status CheckKv(const TensorView& kv_cache) {
  const int64_t head_dim = kv_cache.dim(4);
  if (kv_cache.dtype() == DType::kF8E4M3) {
    return Unimplemented("kv_cache is ", kv_cache.ToString(),
                         "; the CPU backend has float32, bfloat16 and int8");
  }
  if (kv_cache.dtype() != DType::kI8 || (head_dim % 4 == 0 && head_dim <= kMaxHeadDim)) {
    return OkStatus();
  }
  return Unimplemented("head_dim is ", head_dim, "; with int8 it must be a multiple of 4 up to ",
                       kMaxHeadDim);
}

Status PagedAttention(CpuContext& cpu, const PagedAttentionArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.query));
  LONGHAND_RETURN_IF_ERROR(CheckHeadDim(args.query.dim(2)));
  LONGHAND_RETURN_IF_ERROR(CheckKv(args.kv_cache));
  LONGHAND_RETURN_IF_ERROR(CheckSequences(args));
  const int64_t num_heads = args.query.dim(1), head_dim = args.query.dim(2);
  const int64_t num_kv_heads = args.kv_cache.dim(3);
  const auto element_bytes = static_cast<int64_t>(DTypeSize(args.kv_cache.dtype()));
  const char* keys = static_cast<const char*>(args.kv_cache.data());
  const char* values = keys + args.kv_cache.num_bytes() / 2;
  const int32_t* starts = args.cu_query_lens.as<int32_t>();
  std::vector<Piece> pieces;
  for (int64_t s = 0; s < args.block_table.dim(0); ++s) {
    Piece whole;
    whole.task.num_tokens = starts[s + 1] - starts[s];
    whole.task.group = num_heads / num_kv_heads;
    whole.task.head_dim = head_dim;
    whole.task.scale = args.scale;
    whole.task.format = FormatOf(args.kv_cache.dtype());
    whole.task.scale_stride = num_kv_heads;
    whole.task.slot_bytes = num_kv_heads * head_dim * element_bytes;
    whole.task.blocks = args.block_table.as<int32_t>() + s * args.block_table.dim(1);
    whole.task.block_size = args.kv_cache.dim(2);
    whole.task.first_visible = args.context_len.as<int32_t>()[s] - whole.task.num_tokens + 1;
    whole.task.query_stride = whole.out_stride = num_heads * head_dim;
    for (int64_t head = 0; head < num_kv_heads; ++head) {
      const int64_t offset = (starts[s] * num_heads + head * whole.task.group) * head_dim;
      whole.task.query = args.query.as<float>() + offset;
      whole.out = args.out.as<float>() + offset;
      whole.task.keys = keys + head * head_dim * element_bytes;
      whole.task.values = values + head * head_dim * element_bytes;
      if (!args.kv_scales.empty()) {
        whole.task.key_scales = args.kv_scales.as<float>() + head;
        whole.task.value_scales = whole.task.key_scales + args.kv_scales.num_elements() / 2;
      }
      AddPieces(whole, /*causal=*/true, pieces);
    }
  }
  return AttendPieces(cpu, pieces);
}

Status VisionAttention(CpuContext& cpu, const VisionAttentionArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.qkv));
  LONGHAND_RETURN_IF_ERROR(CheckHeadDim(args.qkv.dim(3)));
  LONGHAND_RETURN_IF_ERROR(CheckSegments(args.cu_seqlens, args.qkv.dim(0)));
  const int64_t num_heads = args.qkv.dim(2), head_dim = args.qkv.dim(3);
  const int64_t width = num_heads * head_dim;
  const int32_t* starts = args.cu_seqlens.as<int32_t>();
  std::vector<Piece> pieces;
  for (int64_t s = 0; s + 1 < args.cu_seqlens.dim(0); ++s) {
    Piece whole;
    whole.task.num_tokens = whole.num_keys = starts[s + 1] - starts[s];
    whole.task.first_visible = whole.num_keys;
    whole.task.head_dim = head_dim;
    whole.task.scale = args.scale;
    whole.task.query_stride = 3 * width;
    whole.task.slot_bytes = 3 * width * static_cast<int64_t>(sizeof(float));
    whole.out_stride = width;
    for (int64_t head = 0; head < num_heads; ++head) {
      whole.task.query = args.qkv.as<float>() + starts[s] * 3 * width + head * head_dim;
      whole.task.keys = reinterpret_cast<const char*>(whole.task.query + width);
      whole.task.values = reinterpret_cast<const char*>(whole.task.query + 2 * width);
      whole.out = args.out.as<float>() + starts[s] * width + head * head_dim;
      AddPieces(whole, /*causal=*/false, pieces);
    }
  }
  return AttendPieces(cpu, pieces);
}

}  // namespace longhand::kernels::cpu
