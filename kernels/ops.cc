// The checks that every backend shares. What a tensor holds (ids, slots, block numbers) may be in
// device memory, so a backend checks that where it can; here are shapes, dtypes and host values.
#include "kernels/ops.h"

#include <algorithm>
#include <iterator>

#include "kernels/argument_checks.h"
#include "kernels/row_scale.h"

namespace longhand::kernels {

namespace {

Status CheckLayout(int64_t out_features, LinearLayout layout) {
  if (layout == LinearLayout::kPlain || out_features % 2 == 0) return OkStatus();
  return InvalidArgument("out_features is ", out_features,
                         "; it must be even, of gates and as many ups");
}

}  // namespace

Result<std::unique_ptr<PackedLinear>> Ops::PackLinear(TensorView weight, LinearLayout layout) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("weight", weight, 2));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("out_features", weight.dim(0), 1));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("in_features", weight.dim(1), 1));
  LONGHAND_RETURN_IF_ERROR(CheckLayout(weight.dim(0), layout));
  return DoPackLinear(weight, layout);
}

Result<std::unique_ptr<PackedLinear>> Ops::PackQuantized(const QuantizedWeight& weight,
                                                         LinearLayout layout) {
  LONGHAND_RETURN_IF_ERROR(CheckQuantizedWeight(weight));
  LONGHAND_RETURN_IF_ERROR(CheckLayout(weight.out_features(), layout));
  return DoPackQuantized(weight, layout);
}

Status Ops::Linear(const LinearArgs& args) {
  if (args.weight == nullptr) return InvalidArgument("weight is missing");
  const int64_t out_features = args.weight->out_features();
  const bool is_fp8 = args.x.dtype() == DType::kF8E4M3 && args.weight->is_quantized();
  LONGHAND_RETURN_IF_ERROR(is_fp8 ? CheckRank("x", args.x, 2) : CheckFloat("x", args.x, 2));
  const int64_t num_tokens = args.x.dim(0);
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("x", args.x, args.x.dtype(), {num_tokens, args.weight->in_features()}));
  LONGHAND_RETURN_IF_ERROR(CheckOptional("bias", args.bias, DType::kF32, {out_features}));
  const bool may_be_f32 = args.weight->layout() == LinearLayout::kPlain;
  const bool is_whole = args.out.rank() == 2 && args.out.dim(1) == out_features;
  const DType out_dtype = may_be_f32 && args.out.dtype() == DType::kF32 ? DType::kF32
                          : is_fp8                                      ? DType::kBf16
                                                                        : args.x.dtype();
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("out", args.out, out_dtype,
                  {num_tokens, is_whole ? out_features : args.weight->out_columns()}));
  LONGHAND_RETURN_IF_ERROR(CheckOptional("x_scale", args.x_scale, DType::kF32, {num_tokens}));
  if (args.x_scale.rank() > 0 && !args.weight->is_quantized()) {
    return InvalidArgument("x_scale is ", args.x_scale.ToString(),
                           "; it must be absent, as the weight is not quantised");
  }
  return DoLinear(args);
}

Status Ops::Lora(const LoraArgs& args) {
  const bool is_fp8 = args.x.dtype() == DType::kF8E4M3;
  LONGHAND_RETURN_IF_ERROR(is_fp8 ? CheckRank("x", args.x, 2) : CheckFloat("x", args.x, 2));
  LONGHAND_RETURN_IF_ERROR(CheckFloat("a", args.a, 4));
  LONGHAND_RETURN_IF_ERROR(CheckRank("y", args.y, 2));
  const int64_t num_tokens = args.x.dim(0), columns = args.y.dim(1);
  const int64_t num_adapters = args.a.dim(0), parts = args.a.dim(1), rank = args.a.dim(2);
  if (parts < 1 || parts > kMaxLoraParts) {
    return InvalidArgument("a is ", args.a.ToString(), "; it must have 1 to ", kMaxLoraParts,
                           " parts");
  }
  if (rank < 8 || rank > kMaxLoraRank || rank % 8 != 0) {
    return InvalidArgument("a is ", args.a.ToString(), "; its rank must be a multiple of 8, up to ",
                           kMaxLoraRank);
  }
  LONGHAND_RETURN_IF_ERROR(CheckTensor("adapters", args.adapters, DType::kI32, {num_tokens}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("a", args.a, args.a.dtype(), {num_adapters, parts, rank, args.x.dim(1)}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("b", args.b, args.a.dtype(), {num_adapters, rank, columns}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("ranks", args.ranks, DType::kI32, {num_adapters, parts}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("scales", args.scales, DType::kF32, {num_adapters}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("mid", args.mid, DType::kF32, {num_tokens, parts * rank}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("y", args.y, is_fp8 ? DType::kBf16 : args.x.dtype(), {num_tokens, columns}));
  LONGHAND_RETURN_IF_ERROR(CheckOptional("x_scale", args.x_scale, DType::kF32, {num_tokens}));
  int64_t end = 0;
  for (int64_t part = 0; part < parts; ++part) {
    LONGHAND_RETURN_IF_ERROR(CheckAtLeast("part_ends", args.part_ends[part], end));
    end = args.part_ends[part];
  }
  if (end != columns) {
    return InvalidArgument("part_ends ends at ", end, "; y has ", columns, " columns");
  }
  return DoLora(args);
}

Status Ops::QuantizeRows(const QuantizeRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("x", args.x, 2));
  const int64_t num_rows = args.x.dim(0);
  const DType out_dtype = args.out.dtype() == DType::kF8E4M3 ? DType::kF8E4M3 : args.x.dtype();
  LONGHAND_RETURN_IF_ERROR(CheckTensor("out", args.out, out_dtype, {num_rows, args.x.dim(1)}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("scale", args.scale, DType::kF32, {num_rows}));
  return DoQuantizeRows(args);
}

namespace {

Status CheckHistory(const TensorView& history) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("history", history, 2));
  return CheckTensor("history", history, DType::kI32, {history.dim(0), history.dim(1)});
}

}  // namespace

Status Ops::Embedding(const EmbeddingArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("table", args.table, 2));
  LONGHAND_RETURN_IF_ERROR(CheckFloat("out", args.out, 2));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("ids", args.ids, DType::kI32, {args.out.dim(0)}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("out", args.out, args.out.dtype(), {args.ids.dim(0), args.table.dim(1)}));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("first_id", args.first_id, 0));
  if (args.history.rank() == 0 && args.history_idx.rank() == 0) return DoEmbedding(args);
  LONGHAND_RETURN_IF_ERROR(CheckHistory(args.history));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("history_idx", args.history_idx, DType::kI64, {args.ids.dim(0)}));
  return DoEmbedding(args);
}

Status Ops::RmsNorm(const RmsNormArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("x", args.x, 2));
  const int64_t num_tokens = args.x.dim(0), hidden_size = args.x.dim(1);
  const DType dtype = args.x.dtype();
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("hidden_size", hidden_size, 1));
  LONGHAND_RETURN_IF_ERROR(
      CheckOptional("residual", args.residual, dtype, {num_tokens, hidden_size}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("weight", args.weight, DType::kF32, {hidden_size}));
  LONGHAND_RETURN_IF_ERROR(CheckOptional("scale", args.scale, DType::kF32, {num_tokens}));
  const bool rounds = args.scale.rank() > 0;
  const bool codes = rounds && args.out.dtype() == DType::kF8E4M3;
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("out", args.out, codes ? DType::kF8E4M3 : dtype, {num_tokens, hidden_size}));
  if (!(args.eps >= 0)) return InvalidArgument("eps is ", args.eps, "; it must be at least 0");
  return rounds ? DoRoundedRmsNorm(args) : DoRmsNorm(args);
}

Status Ops::DoRoundedRmsNorm(const RmsNormArgs& args) {
  if (args.out.dtype() != args.x.dtype()) {
    return Unimplemented("backend ", name(), " norms rows of ", DTypeName(args.x.dtype()),
                         " to the same dtype only");
  }
  LONGHAND_RETURN_IF_ERROR(DoRmsNorm(args));
  return DoQuantizeRows({.x = args.out, .out = args.out, .scale = args.scale});
}

Status Ops::SetDeterministic(bool deterministic) {
  if (deterministic) return OkStatus();
  return Unimplemented("backend ", name(), " has nothing that other bits would make quicker");
}

Status Ops::Add(const AddArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("x", args.x, 2));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("y", args.y, args.x.dtype(), {args.x.dim(0), args.x.dim(1)}));
  return DoAdd(args);
}

Status Ops::MropeTable(const MropeTableArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("inv_freq", args.inv_freq, 1));
  LONGHAND_RETURN_IF_ERROR(CheckRank("positions", args.positions, 2));
  const int64_t half = args.inv_freq.dim(0), num_tokens = args.positions.dim(0);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("inv_freq", args.inv_freq, DType::kF32, {half}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("positions", args.positions, DType::kI32, {num_tokens, 3}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("cos", args.cos, DType::kF32, {num_tokens, half}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("sin", args.sin, DType::kF32, {num_tokens, half}));
  int64_t sum = 0;
  for (int64_t section : args.section) {
    LONGHAND_RETURN_IF_ERROR(CheckAtLeast("section", section, 0));
    sum += section;
  }
  if (sum != half) {
    return InvalidArgument("section is [", args.section[0], ", ", args.section[1], ", ",
                           args.section[2], "]; its sum must be head_dim / 2 = ", half);
  }
  return DoMropeTable(args);
}

namespace {

// [2, num_blocks, block_size, K, D], every dimension positive; with scales where it is in 8 bits.
Status CheckKvCache(const TensorView& kv_cache, const TensorView& kv_scales) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("kv_cache", kv_cache, 5));
  for (int i = 0; i < 5; ++i) {
    if (kv_cache.dim(i) < 1 || (i == 0 && kv_cache.dim(0) != 2)) {
      return InvalidArgument("kv_cache is ", kv_cache.ToString(),
                             "; it must be [2, num_blocks, block_size, num_kv_heads, head_dim]");
    }
  }
  if (HasKvScales(kv_cache.dtype())) {
    return CheckTensor("kv_scales", kv_scales, DType::kF32,
                       {2, kv_cache.dim(1), kv_cache.dim(2), kv_cache.dim(3)});
  }
  if (kv_scales.rank() > 0) {
    return InvalidArgument("kv_scales is ", kv_scales.ToString(), "; a kv_cache of ",
                           DTypeName(kv_cache.dtype()), " has none");
  }
  if (kv_cache.dtype() == DType::kF32 || kv_cache.dtype() == DType::kBf16) return OkStatus();
  return InvalidArgument("kv_cache is ", kv_cache.ToString(),
                         "; it must be float32, bfloat16, int8 or float8_e4m3fn");
}

// [T, H, D] with D of the cache and H a multiple of its K.
Status CheckHeads(std::string_view name, const TensorView& heads, const TensorView& kv_cache) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat(name, heads, 3));
  const int64_t num_kv_heads = kv_cache.dim(3), head_dim = kv_cache.dim(4);
  if (heads.dim(2) != head_dim || heads.dim(1) < 1 || heads.dim(1) % num_kv_heads != 0) {
    return InvalidArgument(name, " is ", heads.ToString(),
                           "; it must be [num_tokens, a multiple of ", num_kv_heads, ", ", head_dim,
                           "] as kv_cache says");
  }
  return OkStatus();
}

}  // namespace

Status Ops::QkvRopeWrite(const QkvRopeWriteArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckKvCache(args.kv_cache, args.kv_scales));
  LONGHAND_RETURN_IF_ERROR(CheckHeads("query", args.query, args.kv_cache));
  const int64_t num_tokens = args.query.dim(0), num_heads = args.query.dim(1);
  const int64_t num_kv_heads = args.kv_cache.dim(3), head_dim = args.kv_cache.dim(4);
  if (head_dim % 2 != 0) return InvalidArgument("head_dim is ", head_dim, "; it must be even");
  const int64_t width = (num_heads + 2 * num_kv_heads) * head_dim;
  LONGHAND_RETURN_IF_ERROR(CheckTensor("qkv", args.qkv, args.query.dtype(), {num_tokens, width}));
  LONGHAND_RETURN_IF_ERROR(CheckOptional("bias", args.bias, DType::kF32, {width}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("cos", args.cos, DType::kF32, {num_tokens, head_dim / 2}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("sin", args.sin, DType::kF32, {num_tokens, head_dim / 2}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("slot_mapping", args.slot_mapping, DType::kI64, {num_tokens}));
  return DoQkvRopeWrite(args);
}

Status Ops::PagedAttention(const PagedAttentionArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckKvCache(args.kv_cache, args.kv_scales));
  LONGHAND_RETURN_IF_ERROR(CheckHeads("query", args.query, args.kv_cache));
  LONGHAND_RETURN_IF_ERROR(CheckRank("block_table", args.block_table, 2));
  const int64_t num_seqs = args.block_table.dim(0);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("block_table", args.block_table, DType::kI32,
                                       {num_seqs, args.block_table.dim(1)}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("cu_query_lens", args.cu_query_lens, DType::kI32, {num_seqs + 1}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("context_len", args.context_len, DType::kI32, {num_seqs}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("out", args.out, args.query.dtype(),
                                       {args.query.dim(0), args.query.dim(1), args.query.dim(2)}));
  LONGHAND_RETURN_IF_ERROR(
      CheckOptional("prefix_groups", args.prefix_groups, DType::kI32, {num_seqs, 4}));
  if (!(args.scale > 0)) return InvalidArgument("scale is ", args.scale, "; it must be above 0");
  return DoPagedAttention(args);
}

Status Ops::CopyBlocks(const CopyBlocksArgs& args) {
  const TensorView &from = args.from, &to = args.to;
  if (from.rank() < 4)
    return InvalidArgument("from is ", from.ToString(), "; it needs rank 4 or 5");
  bool alike = from.dtype() == to.dtype() && from.rank() == to.rank() && from.dim(0) == 2;
  for (int i = 0; alike && i < from.rank(); ++i) alike = i == 1 || from.dim(i) == to.dim(i);
  if (!alike) {
    return InvalidArgument("from is ", from.ToString(), " and to ", to.ToString(),
                           "; they must be [2, num_blocks, ...], alike but for num_blocks");
  }
  LONGHAND_RETURN_IF_ERROR(CheckRank("pairs", args.pairs, 2));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("pairs", args.pairs, DType::kI32, {args.pairs.dim(0), 2}));
  return DoCopyBlocks(args);
}

Status Ops::SwiGlu(const SwiGluArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("out", args.out, 2));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("gate_up", args.gate_up, args.out.dtype(),
                                       {args.out.dim(0), 2 * args.out.dim(1)}));
  return DoSwiGlu(args);
}

Status Ops::Gelu(const GeluArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("x", args.x, 2));
  return DoGelu(args);
}

Status Ops::GatherRows(const GatherRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("x", args.x, 2));
  LONGHAND_RETURN_IF_ERROR(CheckRank("rows", args.rows, 1));
  const int64_t num_rows = args.rows.dim(0);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("rows", args.rows, DType::kI32, {num_rows}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("out", args.out, args.x.dtype(), {num_rows, args.x.dim(1)}));
  return DoGatherRows(args);
}

Status Ops::ScatterRows(const ScatterRowsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("x", args.x, 2));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("rows", args.rows, DType::kI32, {args.x.dim(0)}));
  LONGHAND_RETURN_IF_ERROR(CheckFloat("out", args.out, 2));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("out", args.out, args.out.dtype(), {args.out.dim(0), args.x.dim(1)}));
  if (args.x.dtype() != DType::kF32 && args.x.dtype() != args.out.dtype()) {
    return InvalidArgument("x is ", args.x.ToString(),
                           "; it must be float32 or have the dtype of out, ",
                           DTypeName(args.out.dtype()));
  }
  return DoScatterRows(args);
}

Status Ops::Patchify(const PatchifyArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("patch_size", args.patch_size, 1));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("merge_size", args.merge_size, 1));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("temporal_patch_size", args.temporal_patch_size, 1));
  LONGHAND_RETURN_IF_ERROR(CheckRank("pixels", args.pixels, 3));
  const int64_t height = args.pixels.dim(0), width = args.pixels.dim(1);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("pixels", args.pixels, DType::kU8, {height, width, 3}));
  const int64_t unit = args.patch_size * args.merge_size;
  if (height % unit != 0 || width % unit != 0) {
    return InvalidArgument("pixels is ", args.pixels.ToString(),
                           "; height and width must be multiples of ", unit);
  }
  for (float std : args.std) {
    if (!(std > 0)) return InvalidArgument("std is ", std, "; it must be above 0");
  }
  const int64_t patch_area = args.patch_size * args.patch_size;
  LONGHAND_RETURN_IF_ERROR(CheckFloat("out", args.out, 2));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("out", args.out, args.out.dtype(),
                  {height * width / patch_area, 3 * args.temporal_patch_size * patch_area}));
  return DoPatchify(args);
}

Status Ops::VisionRope(const VisionRopeArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("qkv", args.qkv, 4));
  const int64_t num_tokens = args.qkv.dim(0), head_dim = args.qkv.dim(3);
  if (args.qkv.dim(1) != 3 || head_dim % 2 != 0) {
    return InvalidArgument("qkv is ", args.qkv.ToString(),
                           "; it must be [num_tokens, 3, num_heads, an even head_dim]");
  }
  LONGHAND_RETURN_IF_ERROR(CheckTensor("cos", args.cos, DType::kF32, {num_tokens, head_dim / 2}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("sin", args.sin, DType::kF32, {num_tokens, head_dim / 2}));
  return DoVisionRope(args);
}

Status Ops::VisionAttention(const VisionAttentionArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckFloat("qkv", args.qkv, 4));
  const int64_t num_tokens = args.qkv.dim(0), num_heads = args.qkv.dim(2),
                head_dim = args.qkv.dim(3);
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("qkv", args.qkv, args.qkv.dtype(), {num_tokens, 3, num_heads, head_dim}));
  LONGHAND_RETURN_IF_ERROR(CheckRank("cu_seqlens", args.cu_seqlens, 1));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("length of cu_seqlens", args.cu_seqlens.dim(0), 1));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("cu_seqlens", args.cu_seqlens, DType::kI32, {args.cu_seqlens.dim(0)}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("out", args.out, args.qkv.dtype(), {num_tokens, num_heads, head_dim}));
  if (!(args.scale > 0)) return InvalidArgument("scale is ", args.scale, "; it must be above 0");
  return DoVisionAttention(args);
}

namespace {

Status CheckLogits(const TensorView& logits) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("logits", logits, 2));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("vocab_size", logits.dim(1), 1));
  return CheckTensor("logits", logits, DType::kF32, {logits.dim(0), logits.dim(1)});
}

}  // namespace

// A backend looks ids up by halves.
Status Ops::CheckBiases(const std::vector<TokenBias>& biases, int64_t vocab_size) {
  if (std::ssize(biases) > kMaxTokenBiases) {
    return InvalidArgument("a row of rows has ", biases.size(), " biases; at most ",
                           kMaxTokenBiases, " are possible");
  }
  int64_t last = -1;
  for (const TokenBias& bias : biases) {
    if (bias.token_id <= last || bias.token_id >= vocab_size) {
      return InvalidArgument("a row of rows has a bias of token ", bias.token_id, " behind ", last,
                             "; ids must rise, below ", vocab_size);
    }
    last = bias.token_id;
  }
  return OkStatus();
}

// What the rows need of a history.
Result<Ops::HistoryShape> Ops::CheckSampleRows(const std::vector<SampleRow>& rows,
                                               int64_t vocab_size) {
  HistoryShape needed;
  for (const SampleRow& row : rows) {
    if (row.params == nullptr) return InvalidArgument("a row of rows has no params");
    if (row.biases != nullptr) {
      LONGHAND_RETURN_IF_ERROR(CheckBiases(*row.biases, vocab_size));
    }
    if (row.suppressed_ids != nullptr && std::ssize(*row.suppressed_ids) > kMaxSuppressedIds) {
      return InvalidArgument("a row of rows has ", row.suppressed_ids->size(),
                             " suppressed_ids; at most ", kMaxSuppressedIds, " are possible");
    }
    if (row.allowed != nullptr && std::ssize(*row.allowed) != MaskWords(vocab_size)) {
      return InvalidArgument("a row of rows has ", row.allowed->size(), " words of allowed; ",
                             vocab_size, " tokens need ", MaskWords(vocab_size));
    }
    if (row.history_row < 0) {
      if (row.params->HasPenalties()) {
        return InvalidArgument("a row of rows has penalties but no history to count");
      }
      continue;
    }
    if (row.prompt_len < 0 || row.output_len < 0) {
      return InvalidArgument("a row of rows has a history of ", row.prompt_len, " and ",
                             row.output_len, " tokens");
    }
    needed.num_rows = std::max(needed.num_rows, int64_t{row.history_row} + 1);
    needed.row_len = std::max(needed.row_len, int64_t{row.prompt_len} + row.output_len + 1);
  }
  return needed;
}

Status Ops::Sample(const SampleArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckLogits(args.logits));
  const int64_t num_seqs = args.logits.dim(0);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("token_ids", args.token_ids, DType::kI32, {num_seqs}));
  LONGHAND_RETURN_IF_ERROR(CheckRows(args.rows, num_seqs, args.logits.dim(1), args.history));
  return DoSample(args);
}

Status Ops::CheckRows(const std::vector<SampleRow>* rows,
                      int64_t num_rows,
                      int64_t vocab_size,
                      const TensorView& history) const {
  const int64_t given = rows == nullptr ? num_staged_rows_ : static_cast<int64_t>(rows->size());
  if (given != num_rows) {
    return InvalidArgument("rows has ", given, " elements; logits needs ", num_rows);
  }
  HistoryShape needed = staged_history_;
  if (rows != nullptr) {
    LONGHAND_ASSIGN_OR_RETURN(needed, CheckSampleRows(*rows, vocab_size));
  }
  if (history.rank() == 0 && needed.num_rows == 0) return OkStatus();
  LONGHAND_RETURN_IF_ERROR(CheckHistory(history));
  if (history.dim(0) < needed.num_rows || history.dim(1) < needed.row_len) {
    return InvalidArgument("history has ", history.dim(0), " rows of ", history.dim(1),
                           "; rows needs ", needed.num_rows, " of ", needed.row_len);
  }
  return OkStatus();
}

Status Ops::CheckShard(const VocabShard& shard) const {
  LONGHAND_RETURN_IF_ERROR(CheckLogits(shard.logits));
  if (shard.first_id < 0 || shard.num_ids < 0 || shard.num_ids > shard.logits.dim(1) ||
      shard.first_id + shard.num_ids > shard.vocab_size) {
    return InvalidArgument("the shard has ", shard.num_ids, " ids from ", shard.first_id,
                           " on; logits has ", shard.logits.dim(1), " columns, and vocab_size is ",
                           shard.vocab_size);
  }
  return CheckRows(shard.rows, shard.logits.dim(0), shard.vocab_size, shard.history);
}

Status Ops::ShardLikeliest(const ShardLikeliestArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckShard(args.shard));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("likeliest", args.likeliest, DType::kI64, {args.shard.logits.dim(0)}));
  return DoShardLikeliest(args);
}

Status Ops::ShardCandidates(const ShardCandidatesArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckShard(args.shard));
  const int64_t num_rows = args.shard.logits.dim(0);
  LONGHAND_RETURN_IF_ERROR(CheckRank("likeliest", args.likeliest, 2));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("likeliest", args.likeliest, DType::kI64, {args.likeliest.dim(0), num_rows}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("words", args.words, DType::kI64, {num_rows, kShardWords}));
  return DoShardCandidates(args);
}

Status Ops::JoinShards(const JoinShardsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckRank("likeliest", args.likeliest, 2));
  const int64_t num_ranks = args.likeliest.dim(0), num_rows = args.likeliest.dim(1);
  if (num_ranks < 1 || num_ranks > kMaxShards) {
    return InvalidArgument("likeliest is of ", num_ranks, " ranks; 1 to ", kMaxShards,
                           " are possible");
  }
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("likeliest", args.likeliest, DType::kI64, {num_ranks, num_rows}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("words", args.words, DType::kI64, {num_ranks, num_rows, kShardWords}));
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("vocab_size", args.vocab_size, 1));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("token_ids", args.token_ids, DType::kI32, {num_rows}));
  LONGHAND_RETURN_IF_ERROR(CheckRows(args.rows, num_rows, args.vocab_size, args.history));
  return DoJoinShards(args);
}

Status Ops::StageSampleRows(const std::vector<SampleRow>& rows, int64_t vocab_size) {
  LONGHAND_RETURN_IF_ERROR(CheckAtLeast("vocab_size", vocab_size, 1));
  LONGHAND_ASSIGN_OR_RETURN(const HistoryShape needed, CheckSampleRows(rows, vocab_size));
  LONGHAND_RETURN_IF_ERROR(DoStageSampleRows(rows, vocab_size));
  num_staged_rows_ = static_cast<int64_t>(rows.size());
  staged_history_ = needed;
  return OkStatus();
}

Result<std::unique_ptr<Event>> Ops::CreateEvent() { return std::make_unique<Event>(); }

Status Ops::SetEvent(Event&) { return OkStatus(); }

Result<bool> Ops::Reached(const Event&) { return true; }

Result<std::unique_ptr<Recording>> Ops::Record(const std::function<Status()>&) {
  return Unimplemented(name(), " records no operations");
}

Status Ops::Replay(const Recording&) { return Unimplemented(name(), " records no operations"); }

Status Ops::DoStageSampleRows(const std::vector<SampleRow>&, int64_t) {
  return Unimplemented(name(), " samples from rows in host memory only");
}

Status Ops::Logprobs(const LogprobsArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckLogits(args.logits));
  const int64_t num_seqs = args.logits.dim(0), vocab_size = args.logits.dim(1);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("token_ids", args.token_ids, DType::kI32, {num_seqs}));
  LONGHAND_RETURN_IF_ERROR(CheckTensor("logprobs", args.logprobs, DType::kF32, {num_seqs}));
  if (args.top_ids.rank() == 0 && args.top_logprobs.rank() == 0) return DoLogprobs(args);
  LONGHAND_RETURN_IF_ERROR(CheckRank("top_ids", args.top_ids, 2));
  const int64_t k = args.top_ids.dim(1);
  LONGHAND_RETURN_IF_ERROR(CheckTensor("top_ids", args.top_ids, DType::kI32, {num_seqs, k}));
  LONGHAND_RETURN_IF_ERROR(
      CheckTensor("top_logprobs", args.top_logprobs, DType::kF32, {num_seqs, k}));
  if (k > vocab_size) {
    return InvalidArgument("top_ids asks for ", k, " of ", vocab_size, " tokens");
  }
  return DoLogprobs(args);
}

}  // namespace longhand::kernels
