// PrefixGroups: which sequences of a step begin with the same KV blocks, for PagedAttention.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longhand::runner {

// A sequence of the step. `num_keys` of its block table's keys others may have too: those before
// its one new token; 0 where it has more new tokens, or is padding.
struct PrefixCandidate {
  int64_t sequence_id = 0;
  std::span<const int32_t> block_table;
  int64_t num_keys = 0;
};

// Executor thread. What it keeps between steps makes it quick where they have the same sequences,
// and never decides what is grouped.
class PrefixGroups {
 public:
  explicit PrefixGroups(int64_t block_size) : block_size_(block_size) {}

  // Writes prefix_groups (kernels/ops.h), four numbers for each sequence, so that as few keys as
  // possible are read when each group reads its own once.
  void Write(std::span<const PrefixCandidate> sequences, int32_t* rows);

 private:
  void Sort(std::span<const PrefixCandidate> sequences);
  // Keys that two sequences have in common, as far as that may save reading them.
  int64_t SharedKeys(const PrefixCandidate& a, const PrefixCandidate& b) const;
  // Cuts order_[begin, end), neighbours of which have keys in common, into groups.
  void Cut(size_t begin, size_t end);

  const int64_t block_size_;
  std::vector<int64_t> sequence_ids_;  // of the step before
  std::vector<int32_t> order_;         // of sequences: by block table
  std::vector<int64_t> shared_;        // keys of order_[i] and order_[i + 1]
  struct Group {
    size_t end = 0;
    int64_t num_keys = 0;
  };
  std::vector<Group> groups_;
};

}  // namespace longhand::runner
