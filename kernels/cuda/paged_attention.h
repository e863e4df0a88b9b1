// What the kernels of PagedAttention share: a call's tensors, and which kernel takes a sequence.
#pragma once

#include <bit>

#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/divisor.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Keys are split at fixed positions, wherever a sequence ends and whatever the batch: each split is
// summed by itself, and the splits are joined in order. Far from the beginning splits are longer,
// so that a long context has fewer sums to join.
constexpr int kShortSplitKeys = 256, kLongSplitKeys = 1024;
constexpr int kNumShortSplits = 32;
constexpr int kLongSplitsBegin = kNumShortSplits * kShortSplitKeys;

__host__ __device__ constexpr int64_t NumSplits(int64_t num_keys) {
  return num_keys <= kLongSplitsBegin
             ? CeilDiv(num_keys, kShortSplitKeys)
             : kNumShortSplits + CeilDiv(num_keys - kLongSplitsBegin, kLongSplitKeys);
}
__host__ __device__ constexpr int SplitBegin(int split) {
  return split <= kNumShortSplits ? split * kShortSplitKeys
                                  : kLongSplitsBegin + (split - kNumShortSplits) * kLongSplitKeys;
}
// A split ends at this key, if the sequence goes so far.
__host__ __device__ constexpr bool SplitEndsAt(int key) {
  return key % (key <= kLongSplitsBegin ? kShortSplitKeys : kLongSplitKeys) == 0;
}

// A row of prefix_groups (ops.h).
struct PrefixRow {
  int seq, group_begin, group_end, num_keys;
};
static_assert(kLeastPrefixKeys == kShortSplitKeys);
// The splits that lie within these keys.
__host__ __device__ constexpr int WholeSplits(int num_keys) {
  return num_keys <= kLongSplitsBegin
             ? num_keys / kShortSplitKeys
             : kNumShortSplits + (num_keys - kLongSplitsBegin) / kLongSplitKeys;
}

// Decode takes sequences with one new token or, when no others can be in the batch, all.
enum class Share { kAll, kDecode, kPrefill };

template <typename Types>
struct PagedProblem {
  const typename Types::A* query;
  const typename Types::Kv* kv_cache;
  const float* kv_scales;  // with 8 bits
  const int32_t* block_table;
  const int32_t* cu_query_lens;
  const int32_t* context_lens;
  const int4* prefix_rows;  // or null: each sequence is alone
  typename Types::A* out;
  int num_tokens, num_seqs, num_heads, num_kv_heads, head_dim;
  int max_blocks, block_size, block_shift;  // the shift is -1 where there is none
  Divisor by_block, by_kv_head,
      by_group;  // by block_size, num_kv_heads, and what is num_heads to it
  int64_t num_slots;
  float logit_scale;
  Share share;
  bool fp8;

  // Of a sequence, and items of a call, at most: what the host knows.
  int64_t MaxSplits() const { return NumSplits(int64_t{max_blocks} * block_size); }
  int64_t MostItems() const { return int64_t{num_seqs} * num_kv_heads * MaxSplits(); }

  __device__ bool IsMine(int query_len, Share kernel) const {
    if (query_len == 0) return false;
    return share == Share::kAll || (query_len == 1) == (kernel == Share::kDecode);
  }
  __device__ PrefixRow PrefixRowAt(int i) const {
    if (prefix_rows == nullptr) return {i, i, i + 1, 0};
    const int4 row = prefix_rows[i];
    return {row.x, row.y, row.z, row.w};
  }
  __device__ KeyRows<typename Types::Kv> Rows(int seq, int kv_head) const {
    return Rows(seq, kv_head, context_lens[seq]);
  }
  // num_keys: the sequence's context_len.
  __device__ KeyRows<typename Types::Kv> Rows(int seq, int kv_head, int num_keys) const {
    const auto* keys = kv_cache + static_cast<int64_t>(kv_head) * head_dim;
    const int64_t stride = static_cast<int64_t>(num_kv_heads) * head_dim;
    const float* scales = Types::kBytes ? kv_scales + kv_head : nullptr;
    return {
        {keys, scales},
        {keys + num_slots * stride, Types::kBytes ? scales + num_slots * num_kv_heads : nullptr},
        block_table + static_cast<int64_t>(seq) * max_blocks,
        block_size,
        block_shift,
        stride,
        num_keys,
        num_kv_heads,
        fp8};
  }
};

// A sequence's rows for one KV head: new tokens, each with the query heads of the group.
struct HeadRows {
  int first_token, query_len, context_len, kv_head;
  int group;
  Divisor by_group;

  __device__ int count() const { return query_len * group; }
  __device__ int Visible(int row) const {
    return row < count() ? context_len - query_len + by_group.Quotient(row) + 1 : 0;
  }
  // Of the row in [num_tokens, num_heads].
  __device__ int64_t Index(int row, int num_heads) const {
    const int token = by_group.Quotient(row);
    return static_cast<int64_t>(first_token + token) * num_heads + kv_head * group +
           by_group.Remainder(row, token);
  }
};

template <typename Types>
__device__ HeadRows HeadRowsOf(const PagedProblem<Types>& problem, int seq, int kv_head) {
  const int first = problem.cu_query_lens[seq];
  return {first,
          problem.cu_query_lens[seq + 1] - first,
          problem.context_lens[seq],
          kv_head,
          problem.by_group.divisor(),
          problem.by_group};
}

template <typename Types>
__device__ void LoadQueries(const PagedProblem<Types>& problem,
                            const HeadRows& rows,
                            int first_row,
                            WarpQueries<Types>& queries) {
  queries.Load([&](int i) {
    const int row = first_row + i;
    return row < rows.count()
               ? problem.query + rows.Index(row, problem.num_heads) * problem.head_dim
               : nullptr;
  });
}

// The rows of a finished warp, divided by their sums.
template <typename Types>
__device__ __forceinline__ void StoreValues(const RowStates<Types>& state,
                                            int head_dim,
                                            typename Types::A* const (&rows)[2]) {
  using A = typename Types::A;
  const int q = threadIdx.x % 4;
  for (int r = 0; r < 2; ++r) {
    if (rows[r] == nullptr) continue;
#pragma unroll
    for (int n = 0; n < Types::kValueTiles; ++n) {
      if (n * 8 >= head_dim) break;
      A* two = rows[r] + n * 8 + q * 2;
      const float low = state.values[n][2 * r] / state.sum[r];
      const float high = state.values[n][2 * r + 1] / state.sum[r];
      if constexpr (std::is_same_v<A, DeviceBf16>) {
        *reinterpret_cast<uint32_t*>(two) = PackBf16(low, high);
      } else {
        *reinterpret_cast<float2*>(two) = make_float2(low, high);
      }
    }
  }
}

// kernels/cuda/paged_decode.cu and paged_prefill.cu.
Status PagedDecode(Context& context, const PagedAttentionArgs& args, Share share);
Status PagedPrefill(Context& context, const PagedAttentionArgs& args);

template <typename Types>
PagedProblem<Types> MakeProblem(const PagedAttentionArgs& args, Share share) {
  const auto block_size = static_cast<unsigned>(args.kv_cache.dim(2));
  return {Elements<typename Types::A>(args.query),
          Elements<typename Types::Kv>(args.kv_cache),
          Elements<float>(args.kv_scales),
          Elements<int32_t>(args.block_table),
          Elements<int32_t>(args.cu_query_lens),
          Elements<int32_t>(args.context_len),
          Elements<int4>(args.prefix_groups),
          Elements<typename Types::A>(args.out),
          static_cast<int>(args.query.dim(0)),
          static_cast<int>(args.block_table.dim(0)),
          static_cast<int>(args.query.dim(1)),
          static_cast<int>(args.kv_cache.dim(3)),
          static_cast<int>(args.query.dim(2)),
          static_cast<int>(args.block_table.dim(1)),
          static_cast<int>(block_size),
          std::has_single_bit(block_size) ? std::countr_zero(block_size) : -1,
          Divisor(static_cast<int>(block_size)),
          Divisor(static_cast<int>(args.kv_cache.dim(3))),
          Divisor(static_cast<int>(args.query.dim(1) / args.kv_cache.dim(3))),
          args.kv_cache.dim(1) * args.kv_cache.dim(2),
          LogitScale<Types>(args.scale),
          share,
          args.kv_cache.dtype() == DType::kF8E4M3};
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
