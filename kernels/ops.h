// Ops: every tensor operation that the model needs, one interface for all backends.
//
// An Ops enqueues work on its own stream, in call order; the host may read results after Synchronize(). One Ops belongs
// to one thread. The public methods check shapes and dtypes for all backends (kInvalidArgument naming the argument, seen
// and expected), then call the private virtual. A backend that lacks a dtype or size returns kUnimplemented.
//
// Symbols: T = num_tokens, S = num_seqs, H = num_heads, K = num_kv_heads, D = head_dim, A = activation dtype (f32 or
// bf16), KV = KV cache dtype (f32, bf16; with scales int8 or fp8: see "KV scales"). Sums run in f32. All tensors are
// contiguous and in the Ops' own memory, unless a field says "host".
//
// Batch invariance: each row (token) of a result has the same bits whatever other rows are in the call, and for any
// thread count. Attention splits its keys at fixed absolute positions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/philox.h"
#include "common/sampling_params.h"
#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/quantized_weight.h"
#include "kernels/shard_sampling.h"

namespace longhand::kernels {

// KV scales, of a KV cache in 8 bits: a stored element times the scale of its token and head is its value. Symmetric:
// the row's largest magnitude is stored as 127 or 448 (fp8), and a scale of 0 stands for a row of zeros. So a row depends
// on its own token and head alone, and prefill writes again what decode wrote.
//
//   kv_scales  [2, num_blocks, block_size, K] f32 where KV is int8 or fp8; else absent

// Memory of an Ops' device, 64-byte aligned, zeroed; freed with the object, which must not outlive its Ops.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual size_t size_bytes() const = 0;
};

// What the rows of a weight are.
enum class LinearLayout : uint8_t {
  kPlain,
  kGateUp,  // the gates of N / 2 features, then their ups: Linear ends with SwiGlu
};

// A weight matrix in the backend's own layout. Immutable; belongs to the Ops that packed it.
class PackedLinear {
 public:
  explicit PackedLinear(LinearLayout layout) : layout_(layout) {}
  virtual ~PackedLinear() = default;
  LinearLayout layout() const { return layout_; }
  virtual int64_t out_features() const = 0;  // N: rows
  virtual int64_t in_features() const = 0;   // K
  // Columns of what Linear writes.
  int64_t out_columns() const {
    return layout_ == LinearLayout::kGateUp ? out_features() / 2 : out_features();
  }
  virtual bool is_quantized() const { return false; }
  virtual size_t size_bytes() const = 0;

 private:
  LinearLayout layout_;
};

// out[i] = x[i] * weight^T + bias; with x_scale, x_scale[i] * (x[i] * weight^T) + bias. Of gates and ups: that,
// rounded to A, and then SwiGlu of it, with the bits that the two calls give; or that without SwiGlu, where `out` is as
// wide as the weight.
struct LinearArgs {
  TensorView x;    // [T, in_features] A; fp8 with an fp8 weight, where RoundedDType says so
  const PackedLinear* weight = nullptr;
  TensorView bias; // [out_features] f32, or empty
  TensorView out;  // out: [T, out_columns] A; or f32, but of gates and ups. Of those also [T, out_features] A
  TensorView x_scale = {};  // [T] f32, or empty; with a quantised weight only
};

// Low-rank deltas of adapters (LoRA), any mix of them in a call. The columns of y come in parts, of matrices that are
// multiplied as one; each has an A of its own. For a row i with adapter n = adapters[i], and each of its columns in part p,
//
//   y[i] += scales[n] * B[n] * (A[n, p] * x[i])          with x_scale, A[n, p] * (x_scale[i] * x[i])
//
// and rows without an adapter stay as they are.
inline constexpr int kMaxLoraParts = 3;
inline constexpr int64_t kMaxLoraRank = 128;
struct LoraArgs {
  TensorView x;         // [T, in_features] A; or fp8, with A bf16
  TensorView adapters;  // [T] i32: in [0, N), or -1: none
  TensorView a;         // [N, parts, R, in_features] f32 or bf16. R: a multiple of 8, at most kMaxLoraRank
  TensorView b;         // [N, R, columns] as a: B transposed
  TensorView ranks;     // [N, parts] i32, at most R: rows of a and b behind them do not count; 0: no delta
  TensorView scales;    // [N] f32
  int64_t part_ends[kMaxLoraParts] = {0, 0, 0};  // the column behind each part; the last part's is `columns`
  TensorView mid;       // scratch: [T, parts * R] f32
  TensorView y;         // in and out: [T, columns] A
  TensorView x_scale = {};  // [T] f32, or empty
};

// Rounds each row to fp8, the largest magnitude as 448: out[i] * scale[i] is x[i], rounded. What it writes are the
// numbers that fp8 has.
struct QuantizeRowsArgs {
  TensorView x;      // [T, n] A
  TensorView out;    // out: [T, n] A, and may be x; or fp8
  TensorView scale;  // out: [T] f32; 0 where a row is zeros
};

// Histories: tokens of sequences where sampling appends them, [N, L] i32, a row for each sequence. They stay on the
// device from step to step: penalties count them, and the next step takes the latest one from there.

// out[i] = table[ids[i] - first_id], or zeros when the id is not in this shard.
struct EmbeddingArgs {
  TensorView ids;    // [T] i32
  TensorView table;  // [rows, hidden_size] f32 or bf16: ids first_id .. first_id + rows - 1
  int64_t first_id = 0;
  TensorView out;    // out: [T, hidden_size] A
  // Where history_idx[i] is not -1, id i is that element of `history`, counted over all its rows.
  TensorView history = {};      // [N, L] i32, or empty
  TensorView history_idx = {};  // [T] i64; empty without `history`
};

// out = x / sqrt(mean(x^2) + eps), then times weight. With `residual`: first residual += x, then x = residual.
struct RmsNormArgs {
  TensorView x;         // [T, hidden_size] A
  TensorView residual;  // in and out: [T, hidden_size] A, or empty
  TensorView weight;    // [hidden_size] f32
  float eps = 1e-6f;
  TensorView out;       // out: [T, hidden_size] A; may be x. With `scale` as QuantizeRows writes it
  TensorView scale = {};  // out: [T] f32, or empty: what is normed is then rounded, as by QuantizeRows
};

// x += y
struct AddArgs {
  TensorView x;  // in and out: [T, n] A
  TensorView y;  // [T, n] A
};

// cos and sin of M-RoPE: frequency i of D/2 turns with the time, height or width position, by sections in that order.
struct MropeTableArgs {
  TensorView positions;   // [T, 3] i32
  TensorView inv_freq;    // [D / 2] f32
  int64_t section[3] = {0, 0, 0};  // sum to D / 2
  float attention_scaling = 1.0f;  // YaRN's; multiplies cos and sin
  TensorView cos;         // out: [T, D / 2] f32
  TensorView sin;         // out: [T, D / 2] f32
};

// Adds the bias to this step's projections, turns queries and keys (rotate-half), stores keys and values in the slots
// that the scheduler gave to their tokens. No two tokens may name one slot. Keys are stored as KV after rotation in f32.
struct QkvRopeWriteArgs {
  TensorView qkv;           // [T, (H + 2 K) * D] A: queries, keys, values
  TensorView bias;          // [(H + 2 K) * D] f32, or empty
  TensorView cos;           // [T, D / 2] f32
  TensorView sin;           // [T, D / 2] f32
  TensorView slot_mapping;  // [T] i64: block * block_size + offset, or -1 for padding
  TensorView query;         // out: [T, H, D] A
  TensorView kv_cache;      // out: [2, num_blocks, block_size, K, D] KV; 0 = keys, 1 = values
  TensorView kv_scales = {};  // out: KV scales
};

// Fewer keys at the beginning of sequences are not worth reading once for several of them.
inline constexpr int64_t kLeastPrefixKeys = 256;

// Prefix groups: sequences that begin with the same blocks, which a backend may then read once for several of them. No
// bit depends on it. Each sequence has one row, and the rows of a group follow each other:
//
//   (sequence, first row of its group, row behind its last, num_keys)
//
// The members of a group have the same blocks as far as the first num_keys keys reach. A group of one has num_keys 0;
// the others' members have one new token each, behind those keys.

// Attention of new tokens over the paged KV cache: causal, grouped query heads. The new tokens of sequence s are the
// last query_len of its context_len tokens; their own keys are in the cache already.
struct PagedAttentionArgs {
  TensorView query;          // [T, H, D] A
  TensorView kv_cache;       // [2, num_blocks, block_size, K, D] KV
  TensorView block_table;    // [S, max_blocks] i32; read up to context_len
  TensorView cu_query_lens;  // [S + 1] i32, exclusive prefix sum
  TensorView context_len;    // [S] i32
  float scale = 0;           // 1 / sqrt(D)
  TensorView out;            // out: [T, H, D] A
  TensorView kv_scales = {};      // KV scales
  TensorView prefix_groups = {};  // [S, 4] i32, or empty: all alone
};

// Copies KV blocks, their keys and values: block pairs[i][1] of `to` becomes block pairs[i][0] of `from`. No block is
// written twice, or both read and written. One of the two may be staging memory: KV cache that moves to the host.
struct CopyBlocksArgs {
  TensorView from;   // [2, num_blocks, block_size, K, D] KV, or KV scales
  TensorView to;     // out: the same, of another num_blocks perhaps
  TensorView pairs;  // [n, 2] i32
};

// out = silu(gate) * up
struct SwiGluArgs {
  TensorView gate_up;  // [T, 2 * intermediate_size] A: gate, then up
  TensorView out;      // out: [T, intermediate_size] A
};

// x = gelu(x), the exact (erf) form.
struct GeluArgs {
  TensorView x;  // in and out: [T, n] A
};

// out[i] = x[rows[i]]
struct GatherRowsArgs {
  TensorView x;     // [n, width] any dtype
  TensorView rows;  // [m] i32, each in [0, n)
  TensorView out;   // out: [m, width] as x
};

// out[rows[i]] = x[i]. No two rows may be the same.
struct ScatterRowsArgs {
  TensorView x;     // [m, width] f32 or A
  TensorView rows;  // [m] i32, each in [0, n)
  TensorView out;   // out: [n, width] A; converted when x has another dtype
};

// (pixels / 255 - mean) / std as rows [3][2][14][14] in the merged order (h/2, w/2, 2, 2); a still image is its frame
// twice. mean and std are per channel, in RGB order.
struct PatchifyArgs {
  TensorView pixels;  // [height, width, 3] u8; height and width are multiples of patch_size * merge_size
  int64_t patch_size = 14;
  int64_t merge_size = 2;
  int64_t temporal_patch_size = 2;
  float mean[3] = {0, 0, 0};
  float std[3] = {1, 1, 1};
  TensorView out;     // out: [patches, 3 * temporal_patch_size * patch_size^2] A
};

// Turns queries and keys of the ViT in place (rotate-half), in f32.
struct VisionRopeArgs {
  TensorView qkv;  // in and out: [T, 3, H, D] A
  TensorView cos;  // [T, D / 2] f32
  TensorView sin;  // [T, D / 2] f32
};

// Attention without a mask inside segments: token i sees the tokens of its own segment.
struct VisionAttentionArgs {
  TensorView qkv;         // [T, 3, H, D] A
  TensorView cu_seqlens;  // [segments + 1] i32, from 0 to T; no empty segment
  float scale = 0;        // 1 / sqrt(D)
  TensorView out;         // out: [T, H, D] A
};

// One row to sample: the parameters, the random key, and where the sequence's tokens are. Penalties count the prompt,
// [0, prompt_len) of a row of `history`, and the answer so far, the output_len tokens behind it. The token that is sampled
// becomes the next one there.
struct SampleRow {
  const SamplingParams* params = nullptr;
  DrawKey key;
  // Added to logits before penalties: at most kMaxTokenBiases, by rising id; null: none.
  const std::vector<TokenBias>* biases = nullptr;
  const std::vector<int32_t>* suppressed_ids = nullptr;  // cannot be sampled; null: all can
  // Nor can the tokens whose bit is 0, bit id % 32 of word id / 32: [MaskWords(vocab_size)]; null: all can.
  const std::vector<uint32_t>* allowed = nullptr;
  int32_t history_row = -1;  // -1: none, and no penalties. No two rows of a call have the same one
  int32_t prompt_len = 0, output_len = 0;
};

// Ids that a row may suppress at once.
inline constexpr int64_t kMaxSuppressedIds = 256;

// Words of a mask with a bit for each token.
inline constexpr int64_t MaskWords(int64_t vocab_size) { return (vocab_size + 31) / 32; }

// Samples a token for each row, in the order that SamplingParams states. The draw is exact: the largest of
// logit / temperature + Gumbel(token), over the tokens that the filters keep, where Gumbel(token) = -log(-log(u)) of
// u = UniformDraw(key, token id), kept away from 0.
struct SampleArgs {
  TensorView logits;                // [S, vocab_size] f32; not changed
  const std::vector<SampleRow>* rows = nullptr;  // host: [S]; null: those that StageSampleRows took last
  TensorView token_ids;             // out: [S] i32
  TensorView history = {};          // in and out: [N, L] i32; empty where no row has one
};

// Log-probabilities of a row's distribution: of one token, and of the k best (the lower id first on a tie).
struct LogprobsArgs {
  TensorView logits;        // [S, vocab_size] f32
  TensorView token_ids;     // [S] i32
  TensorView logprobs;      // out: [S] f32
  TensorView top_ids;       // out: [S, k] i32, or empty
  TensorView top_logprobs;  // out: [S, k] f32, or empty
};

// The largest calls that steps will make: what the operations need for them is taken at start.
struct StepSizes {
  int64_t max_num_seqs = 0;   // S of PagedAttention and Sample
  int64_t max_model_len = 0;  // tokens of a sequence; max_blocks * block_size reaches no block further
  int64_t block_size = 1;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t vocab_size = 0;
  // Of weights in bf16 or codes, the image encoder's included; 0 where there are none.
  int64_t max_in_features = 0;
  bool has_fp8_weights = false;
  // Of the layers' weights in bf16, or 0: what large products through a library take (SetDeterministic).
  int64_t max_weight_elements = 0;   // of one matrix
  int64_t max_gate_up_features = 0;  // of a matrix of gates and ups
};

// A weight as it is given to be packed, without its elements.
struct WeightShape {
  int64_t out_features = 0, in_features = 0;
  DType dtype = DType::kBf16;  // f32, bf16, or of codes: f8e4m3, i8, u8 (two of 4 bits each)
  int64_t group_size = 0;      // of 4 bits
};

// What an Ops takes on its own.
struct OpsMemory {
  int64_t device_bytes = 0;
  int64_t staging_bytes = 0;  // AllocateStaging
};

// Operations that were recorded, to be run again: the same calls on the same memory, whatever it then holds.
class Recording {
 public:
  virtual ~Recording() = default;
};

// A place in an Ops' work.
class Event {
 public:
  virtual ~Event() = default;
};

class Ops {
 public:
  virtual ~Ops() = default;

  virtual std::string_view name() const = 0;  // "reference", "cpu", "emulated", "cuda"
  // The dtype that activations have when the model's dtype is `model_dtype`. Where the machine computes in f32 anyway
  // (cpu), activations stay f32 and bf16 means bf16 weights and KV.
  virtual DType ActivationDType(DType model_dtype) const = 0;
  // The dtype that rows must have, once rounded (QuantizeRows), to be multiplied by a weight in fp8: fp8 where the
  // device multiplies that, else `activation`.
  virtual DType RoundedDType(DType activation) const { return activation; }
  // Whether the KV cache may have this dtype.
  virtual bool HasKvDType(DType kv) const = 0;
  // False: a row's bits may depend on the rows beside it, where that makes a large Linear quicker; Reserve() comes after
  // it. kUnimplemented where nothing would be quicker. Bits are deterministic until this says otherwise.
  virtual Status SetDeterministic(bool deterministic);

  virtual Result<std::unique_ptr<Buffer>> Allocate(size_t bytes) = 0;
  // Host memory that copies take at full speed and without the host waiting, and that CopyBlocks reaches.
  virtual Result<std::unique_ptr<Buffer>> AllocateStaging(size_t bytes) = 0;
  // Takes all memory that calls within `sizes` need beyond their tensors: they allocate none. Without it the memory
  // grows with the calls.
  virtual Status Reserve(const StepSizes& sizes) = 0;
  // What Reserve takes for `sizes`, and what weights within them bring along when they are packed.
  virtual OpsMemory ReservedMemory(const StepSizes& sizes) const = 0;
  // What a weight of this shape takes once it is packed.
  virtual int64_t PackedBytes(const WeightShape& shape) const = 0;
  // What libraries take beside all that is allocated here, about.
  virtual int64_t LibraryBytes() const { return 0; }
  // What trials on this device have chosen so far, in words; empty where nothing is tried.
  virtual std::string TrialResults() const { return {}; }
  // Ordered with the operations. Host memory must stay until Synchronize().
  virtual Status CopyToDevice(void* device, const void* host, size_t bytes) = 0;
  virtual Status CopyToHost(void* host, const void* device, size_t bytes) = 0;
  virtual Status Synchronize() = 0;

  // Whether the device goes on while the host does something else. Otherwise a call has done its work when it returns.
  virtual bool RunsApart() const { return false; }
  virtual Result<std::unique_ptr<Event>> CreateEvent();
  // Puts it behind all work so far.
  virtual Status SetEvent(Event& event);
  // Whether the device has come to where it was put last. Never waits; what went wrong on the device is its status.
  virtual Result<bool> Reached(const Event& event);

  // Changes with each piece of work that is done, within long operations too; nothing where that cannot be told. Any
  // thread.
  virtual std::optional<uint64_t> WorkMark() const { return std::nullopt; }

  // Whether operations can be recorded here, and rows to be sampled staged.
  virtual bool CanRecord() const { return false; }
  // Notes the operations that `enqueue` calls instead of running them. It may do nothing else here: no copies, no
  // allocations, no Synchronize. An error leaves nothing behind. Workspaces that operations share do not grow while a
  // recording is kept (Reserve). kUnimplemented where nothing can be recorded.
  virtual Result<std::unique_ptr<Recording>> Record(const std::function<Status()>& enqueue);
  // Ordered: runs what was recorded by this Ops.
  virtual Status Replay(const Recording& recording);

  // weight [out_features, in_features], f32 or bf16, in host memory; not needed afterwards. The elements are kept
  // exactly: f32 weights stay f32, bf16 stay bf16.
  Result<std::unique_ptr<PackedLinear>> PackLinear(TensorView weight,
                                                   LinearLayout layout = LinearLayout::kPlain);
  // The same of codes and scales.
  Result<std::unique_ptr<PackedLinear>> PackQuantized(const QuantizedWeight& weight,
                                                      LinearLayout layout = LinearLayout::kPlain);

  Status Linear(const LinearArgs& args);
  Status Lora(const LoraArgs& args);
  Status QuantizeRows(const QuantizeRowsArgs& args);
  Status Embedding(const EmbeddingArgs& args);
  Status RmsNorm(const RmsNormArgs& args);
  Status Add(const AddArgs& args);
  Status MropeTable(const MropeTableArgs& args);
  Status QkvRopeWrite(const QkvRopeWriteArgs& args);
  Status PagedAttention(const PagedAttentionArgs& args);
  Status CopyBlocks(const CopyBlocksArgs& args);
  Status SwiGlu(const SwiGluArgs& args);
  Status Gelu(const GeluArgs& args);
  Status GatherRows(const GatherRowsArgs& args);
  Status ScatterRows(const ScatterRowsArgs& args);
  Status Patchify(const PatchifyArgs& args);
  Status VisionRope(const VisionRopeArgs& args);
  Status VisionAttention(const VisionAttentionArgs& args);
  Status Sample(const SampleArgs& args);
  // Ordered: what the next calls of Sample without rows read. kUnimplemented where there is nothing to be staged.
  Status StageSampleRows(const std::vector<SampleRow>& rows, int64_t vocab_size);
  // Sample() where each rank has a part of the vocabulary: kernels/shard_sampling.h.
  Status ShardLikeliest(const ShardLikeliestArgs& args);
  Status ShardCandidates(const ShardCandidatesArgs& args);
  Status JoinShards(const JoinShardsArgs& args);
  Status Logprobs(const LogprobsArgs& args);

 private:
  struct HistoryShape {
    int64_t num_rows = 0, row_len = 0;
  };
  static Status CheckBiases(const std::vector<TokenBias>& biases, int64_t vocab_size);
  static Result<HistoryShape> CheckSampleRows(const std::vector<SampleRow>& rows, int64_t vocab_size);

  virtual Result<std::unique_ptr<PackedLinear>> DoPackLinear(TensorView weight,
                                                             LinearLayout layout) = 0;
  virtual Result<std::unique_ptr<PackedLinear>> DoPackQuantized(const QuantizedWeight& weight,
                                                                LinearLayout layout) = 0;
  virtual Status DoLinear(const LinearArgs& args) = 0;
  virtual Status DoLora(const LoraArgs& args) = 0;
  virtual Status DoQuantizeRows(const QuantizeRowsArgs& args) = 0;
  virtual Status DoEmbedding(const EmbeddingArgs& args) = 0;
  virtual Status DoRmsNorm(const RmsNormArgs& args) = 0;
  // With `scale`. By default the two operations, which need `out` in A.
  virtual Status DoRoundedRmsNorm(const RmsNormArgs& args);
  virtual Status DoAdd(const AddArgs& args) = 0;
  virtual Status DoMropeTable(const MropeTableArgs& args) = 0;
  virtual Status DoQkvRopeWrite(const QkvRopeWriteArgs& args) = 0;
  virtual Status DoPagedAttention(const PagedAttentionArgs& args) = 0;
  virtual Status DoCopyBlocks(const CopyBlocksArgs& args) = 0;
  virtual Status DoSwiGlu(const SwiGluArgs& args) = 0;
  virtual Status DoGelu(const GeluArgs& args) = 0;
  virtual Status DoGatherRows(const GatherRowsArgs& args) = 0;
  virtual Status DoScatterRows(const ScatterRowsArgs& args) = 0;
  virtual Status DoPatchify(const PatchifyArgs& args) = 0;
  virtual Status DoVisionRope(const VisionRopeArgs& args) = 0;
  virtual Status DoVisionAttention(const VisionAttentionArgs& args) = 0;
  virtual Status DoSample(const SampleArgs& args) = 0;
  virtual Status DoStageSampleRows(const std::vector<SampleRow>& rows, int64_t vocab_size);
  virtual Status DoShardLikeliest(const ShardLikeliestArgs& args) = 0;
  virtual Status DoShardCandidates(const ShardCandidatesArgs& args) = 0;
  virtual Status DoJoinShards(const JoinShardsArgs& args) = 0;
  virtual Status DoLogprobs(const LogprobsArgs& args) = 0;

  Status CheckRows(const std::vector<SampleRow>* rows,
                   int64_t num_rows,
                   int64_t vocab_size,
                   const TensorView& history) const;
  Status CheckShard(const VocabShard& shard) const;

  // Of the rows that are staged: how many, and what they need of a history.
  int64_t num_staged_rows_ = 0;
  HistoryShape staged_history_;
};

// Plain loops: what each operation means. One thread.
std::unique_ptr<Ops> CreateReferenceOps();
// AVX-512 or AVX2, chosen by CPUID; `num_threads` >= 1. kUnimplemented when the CPU has neither.
Result<std::unique_ptr<Ops>> CreateCpuOps(int num_threads);

}  // namespace longhand::kernels
