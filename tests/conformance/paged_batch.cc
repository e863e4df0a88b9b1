#include "tests/conformance/paged_batch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "common/kv_dtype.h"

namespace longhand::conformance {
namespace {

// The whole batch in host memory.
struct Batch {
  HostTensor query, cache, scales, block_table, prefix_groups;
  std::vector<int64_t> starts{0};
};

int64_t NumBlocks(int64_t context_len, int64_t block_size) {
  return (context_len + block_size - 1) / block_size;
}

// Elements in 8 bits, and a scale for each token and head that makes them normal again.
void MakeBytes(const BatchShape& shape, Rng& rng, Batch& batch) {
  const double max = shape.kv == DType::kI8 ? 127 : 448;
  const HostTensor wide = rng.Normal(batch.cache.shape, DType::kF32, max / 4);
  batch.cache = HostTensor(shape.kv, wide.shape);
  for (int64_t i = 0; i < wide.num_elements(); ++i) {
    batch.cache.Set(i, std::clamp(wide.At(i), -max, max));
  }
  const std::vector<int64_t>& s = wide.shape;
  batch.scales = rng.Normal({s[0], s[1], s[2], s[3]}, DType::kF32, 0.3);
  for (int64_t i = 0; i < batch.scales.num_elements(); ++i) {
    batch.scales.Set(i, (0.2 + std::abs(batch.scales.At(i))) * 4 / max);
  }
}

// Slots past a context hold NaN, and so do blocks of nobody: one wrong read shows in the result.
void FillRest(int64_t row, HostTensor& cache, const std::vector<bool>& used) {
  HostTensor nothing(cache.dtype, {row});
  for (int64_t i = 0; i < row; ++i) nothing.Set(i, std::numeric_limits<double>::quiet_NaN());
  const auto num_slots = static_cast<int64_t>(used.size());
  const auto row_bytes = static_cast<int64_t>(nothing.bytes.size());
  for (int64_t slot = 0; slot < num_slots; ++slot) {
    if (used[slot]) continue;
    for (const int64_t at : {slot, num_slots + slot})
      std::copy(nothing.bytes.begin(), nothing.bytes.end(), cache.bytes.begin() + at * row_bytes);
  }
}

// Prefixes first, then the sequences that have none, alone.
HostTensor MakePrefixGroups(const BatchShape& shape) {
  std::vector<int64_t> rows;
  std::vector<bool> is_member(shape.query_lens.size(), false);
  const auto add = [&](const SharedPrefix& prefix) {
    const auto begin = static_cast<int64_t>(rows.size() / 4);
    for (const int64_t seq : prefix.seqs) {
      const auto end = begin + static_cast<int64_t>(prefix.seqs.size());
      rows.insert(rows.end(), {seq, begin, end, prefix.num_keys});
      is_member[static_cast<size_t>(seq)] = true;
    }
  };
  for (const SharedPrefix& prefix : shape.prefixes) add(prefix);
  for (size_t seq = 0; seq < is_member.size(); ++seq) {
    if (!is_member[seq]) add({{static_cast<int64_t>(seq)}, 0});
  }
  return Int32(rows, {static_cast<int64_t>(is_member.size()), 4});
}

Batch MakeHostBatch(const BatchShape& shape) {
  Rng rng(/*seed=*/51);
  Batch batch;
  int64_t max_blocks = 1, total_blocks = 1;
  for (size_t s = 0; s < shape.query_lens.size(); ++s) {
    batch.starts.push_back(batch.starts.back() + shape.query_lens[s]);
    const int64_t blocks = NumBlocks(shape.context_lens[s], shape.block_size);
    max_blocks = std::max(max_blocks, blocks);
    total_blocks += blocks;
  }
  const auto num_seqs = static_cast<int64_t>(shape.query_lens.size());
  const std::vector<int64_t> order = rng.Permutation(total_blocks);
  std::vector<bool> used(static_cast<size_t>(total_blocks * shape.block_size), false);
  // What is not read may be any number, a block that does not exist too.
  std::vector<int64_t> table(static_cast<size_t>(num_seqs * max_blocks), 1 << 30);
  std::vector<const SharedPrefix*> prefix_of(static_cast<size_t>(num_seqs), nullptr);
  std::vector<int64_t> seqs;  // the first of a prefix before the others
  for (const SharedPrefix& prefix : shape.prefixes) {
    for (const int64_t seq : prefix.seqs) prefix_of[static_cast<size_t>(seq)] = &prefix;
    seqs.insert(seqs.end(), prefix.seqs.begin(), prefix.seqs.end());
  }
  for (int64_t s = 0; s < num_seqs; ++s) {
    if (prefix_of[static_cast<size_t>(s)] == nullptr) seqs.push_back(s);
  }
  int64_t next = 0;
  for (const int64_t s : seqs) {
    const SharedPrefix* prefix = prefix_of[static_cast<size_t>(s)];
    for (int64_t j = 0; j < shape.context_lens[s]; ++j) {
      int64_t& block = table[s * max_blocks + j / shape.block_size];
      if (j % shape.block_size == 0) {
        const bool is_shared = prefix != nullptr && s != prefix->seqs[0] && j < prefix->num_keys;
        block =
            is_shared ? table[prefix->seqs[0] * max_blocks + j / shape.block_size] : order[next++];
      }
      used[block * shape.block_size + j % shape.block_size] = true;
    }
  }
  batch.query =
      rng.Normal({batch.starts.back(), shape.num_heads, shape.head_dim}, shape.activation, 1.5);
  const std::vector<int64_t> cache{2, total_blocks, shape.block_size, shape.num_kv_heads,
                                   shape.head_dim};
  if (HasKvScales(shape.kv)) {
    batch.cache = HostTensor(shape.kv, cache);
    MakeBytes(shape, rng, batch);
    FillRest(shape.num_kv_heads, batch.scales, used);
  } else {
    batch.cache = rng.Normal(cache, shape.kv);
    FillRest(shape.num_kv_heads * shape.head_dim, batch.cache, used);
  }
  batch.block_table = Int32(table, {num_seqs, max_blocks});
  batch.prefix_groups = MakePrefixGroups(shape);
  return batch;
}

kernels::PagedAttentionArgs Upload(Device& device,
                                   const BatchShape& shape,
                                   const Batch& batch,
                                   const HostTensor& query,
                                   const HostTensor& block_table,
                                   const std::vector<int64_t>& starts,
                                   const std::vector<int64_t>& context_lens) {
  kernels::PagedAttentionArgs args;
  args.query = device.In(query);
  args.kv_cache = device.In(batch.cache);
  if (HasKvScales(shape.kv)) args.kv_scales = device.In(batch.scales);
  args.block_table = device.In(block_table);
  args.cu_query_lens = device.In(Int32(starts));
  args.context_len = device.In(Int32(context_lens));
  args.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  args.out = device.Out(shape.activation, query.shape);
  return args;
}

}  // namespace

kernels::PagedAttentionArgs MakeBatch(Device& device, const BatchShape& shape) {
  const Batch batch = MakeHostBatch(shape);
  kernels::PagedAttentionArgs args = Upload(device, shape, batch, batch.query, batch.block_table,
                                            batch.starts, shape.context_lens);
  if (shape.tells_prefixes && !shape.prefixes.empty()) {
    args.prefix_groups = device.In(batch.prefix_groups);
  }
  return args;
}

Result<Outputs> RunBatch(Device& device, const BatchShape& shape) {
  const kernels::PagedAttentionArgs args = MakeBatch(device, shape);
  LONGHAND_RETURN_IF_ERROR(device.ops().PagedAttention(args));
  return Outputs{device.Read(args.out)};
}

Result<Outputs> RunSequence(Device& device, const BatchShape& shape, size_t s, int64_t skip) {
  const Batch batch = MakeHostBatch(shape);
  const int64_t count = shape.query_lens[s] - skip;
  const kernels::PagedAttentionArgs args = Upload(
      device, shape, batch, batch.query.Rows(batch.starts[s] + skip, count),
      batch.block_table.Rows(static_cast<int64_t>(s), 1), {0, count}, {shape.context_lens[s]});
  LONGHAND_RETURN_IF_ERROR(device.ops().PagedAttention(args));
  return Outputs{device.Read(args.out)};
}

}  // namespace longhand::conformance
