// Batches for PagedAttention: a cache whose blocks are scattered, with NaN wherever no sequence may
// read.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/conformance/cases.h"

namespace longhand::conformance {

// Sequences with one new token each whose first keys lie in the same blocks: whole ones.
struct SharedPrefix {
  std::vector<int64_t> seqs;
  int64_t num_keys = 0;
};

struct BatchShape {
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  int64_t head_dim = 16;
  int64_t block_size = 16;
  DType activation = DType::kF32;
  DType kv = DType::kF32;
  std::vector<int64_t> query_lens;
  std::vector<int64_t> context_lens;
  std::vector<SharedPrefix> prefixes;
  bool tells_prefixes = true;  // gives prefix_groups, where there are prefixes
};

// All sequences in one call: out [T, num_heads, head_dim].
Result<Outputs> RunBatch(Device& device, const BatchShape& shape);

// Sequence s alone, from token `skip` of its chunk on, in the same cache.
Result<Outputs> RunSequence(Device& device, const BatchShape& shape, size_t s, int64_t skip);

// The arguments of RunBatch, on the device, for timing.
kernels::PagedAttentionArgs MakeBatch(Device& device, const BatchShape& shape);

}  // namespace longhand::conformance
