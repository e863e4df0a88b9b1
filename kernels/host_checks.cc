#include "kernels/host_checks.h"

#include <vector>

namespace longhand::kernels {

Status CheckIndices(std::string_view name, const TensorView& indices, int64_t limit) {
  const int32_t* values = indices.as<int32_t>();
  for (int64_t i = 0; i < indices.num_elements(); ++i) {
    if (values[i] < 0 || values[i] >= limit) {
      return InvalidArgument(name, "[", i, "] is ", values[i], "; it must be in [0, ", limit, ")");
    }
  }
  return OkStatus();
}

Status CheckSlots(const TensorView& slot_mapping, const TensorView& kv_cache) {
  const int64_t num_slots = kv_cache.dim(1) * kv_cache.dim(2);
  const int64_t* slots = slot_mapping.as<int64_t>();
  for (int64_t i = 0; i < slot_mapping.dim(0); ++i) {
    if (slots[i] < -1 || slots[i] >= num_slots) {
      return InvalidArgument("slot_mapping[", i, "] is ", slots[i], "; it must be -1 or in [0, ",
                             num_slots, ")");
    }
  }
  return OkStatus();
}

Status CheckSequences(const PagedAttentionArgs& args) {
  const int64_t num_seqs = args.block_table.dim(0), max_blocks = args.block_table.dim(1);
  const int64_t num_blocks = args.kv_cache.dim(1), block_size = args.kv_cache.dim(2);
  const int32_t* starts = args.cu_query_lens.as<int32_t>();
  const int32_t* context_lens = args.context_len.as<int32_t>();
  const int32_t* table = args.block_table.as<int32_t>();
  if (starts[0] != 0 || starts[num_seqs] != args.query.dim(0)) {
    return InvalidArgument("cu_query_lens runs from ", starts[0], " to ", starts[num_seqs],
                           "; it must run from 0 to num_tokens = ", args.query.dim(0));
  }
  for (int64_t s = 0; s < num_seqs; ++s) {
    const int64_t query_len = int64_t{starts[s + 1]} - starts[s];
    const int64_t context_len = context_lens[s];
    if (query_len < 0 || context_len < query_len || context_len > max_blocks * block_size) {
      return InvalidArgument("sequence ", s, " has query_len ", query_len, " and context_len ",
                             context_len, "; they need 0 <= query_len <= context_len <= ",
                             max_blocks * block_size, ", what its block table holds");
    }
    const int64_t used = query_len == 0 ? 0 : (context_len + block_size - 1) / block_size;
    for (int64_t b = 0; b < used; ++b) {
      const int32_t block = table[s * max_blocks + b];
      if (block < 0 || block >= num_blocks) {
        return InvalidArgument("block_table[", s, "][", b, "] is ", block, "; it must be in [0, ",
                               num_blocks, ")");
      }
    }
  }
  return OkStatus();
}

Status CheckAdapters(const LoraArgs& args) {
  const int32_t* adapters = args.adapters.as<int32_t>();
  for (int64_t i = 0; i < args.adapters.dim(0); ++i) {
    if (adapters[i] < -1 || adapters[i] >= args.a.dim(0)) {
      return InvalidArgument("adapters[", i, "] is ", adapters[i], "; it must be -1 or in [0, ",
                             args.a.dim(0), ")");
    }
  }
  const int32_t* ranks = args.ranks.as<int32_t>();
  for (int64_t i = 0; i < args.ranks.num_elements(); ++i) {
    if (ranks[i] < 0 || ranks[i] > args.a.dim(2)) {
      return InvalidArgument("ranks[", i, "] is ", ranks[i], "; it must be from 0 to ",
                             args.a.dim(2));
    }
  }
  return OkStatus();
}

Status CheckBlockPairs(const CopyBlocksArgs& args) {
  const int32_t* pairs = args.pairs.as<int32_t>();
  const int64_t num_pairs = args.pairs.dim(0);
  const bool in_place = args.from.data() == args.to.data();
  std::vector<bool> written(static_cast<size_t>(args.to.dim(1)));
  for (int64_t i = 0; i < num_pairs; ++i) {
    const int64_t from = pairs[2 * i], to = pairs[2 * i + 1];
    if (from < 0 || from >= args.from.dim(1) || to < 0 || to >= args.to.dim(1)) {
      return InvalidArgument("pairs[", i, "] is ", from, " to ", to, "; they must be in [0, ",
                             args.from.dim(1), ") and [0, ", args.to.dim(1), ")");
    }
    if (written[static_cast<size_t>(to)]) {
      return InvalidArgument("pairs[", i, "] writes block ", to, ", which another one writes");
    }
    written[static_cast<size_t>(to)] = true;
  }
  for (int64_t i = 0; in_place && i < num_pairs; ++i) {
    if (!written[static_cast<size_t>(pairs[2 * i])]) continue;
    return InvalidArgument("pairs[", i, "] reads block ", pairs[2 * i], ", which one writes");
  }
  return OkStatus();
}

Status CheckSegments(const TensorView& cu_seqlens, int64_t num_tokens) {
  const int32_t* starts = cu_seqlens.as<int32_t>();
  const int64_t num_segments = cu_seqlens.dim(0) - 1;
  if (starts[0] != 0 || starts[num_segments] != num_tokens) {
    return InvalidArgument("cu_seqlens runs from ", starts[0], " to ", starts[num_segments],
                           "; it must run from 0 to num_tokens = ", num_tokens);
  }
  for (int64_t s = 0; s < num_segments; ++s) {
    if (starts[s + 1] <= starts[s]) {
      return InvalidArgument("cu_seqlens[", s + 1, "] is ", starts[s + 1],
                             "; it must be above the one before, ", starts[s]);
    }
  }
  return OkStatus();
}

}  // namespace longhand::kernels
