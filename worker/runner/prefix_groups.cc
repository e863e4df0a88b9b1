#include "worker/runner/prefix_groups.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/ops.h"

namespace longhand::runner {
namespace {

// A group has no more sequences: what cutting a step's into groups costs stays linear in them.
constexpr size_t kMaxGroup = 64;

// How many of the first `count` blocks are the same.
int64_t SameBlocks(const int32_t* a, const int32_t* b, int64_t count) {
  constexpr int64_t kAtOnce = 32;
  int64_t same = 0;
  while (same + kAtOnce <= count &&
         std::memcmp(a + same, b + same, kAtOnce * sizeof(int32_t)) == 0) {
    same += kAtOnce;
  }
  while (same < count && a[same] == b[same]) ++same;
  return same;
}

}  // namespace

int64_t PrefixGroups::SharedKeys(const PrefixCandidate& a, const PrefixCandidate& b) const {
  const int64_t most = std::min(a.num_keys, b.num_keys) / block_size_;
  const int64_t keys = SameBlocks(a.block_table.data(), b.block_table.data(), most) * block_size_;
  return keys < kernels::kLeastPrefixKeys ? 0 : keys;
}

void PrefixGroups::Sort(std::span<const PrefixCandidate> sequences) {
  const bool same_sequences =
      std::ranges::equal(sequences, sequence_ids_, {}, &PrefixCandidate::sequence_id);
  if (same_sequences) return;
  sequence_ids_.clear();
  for (const PrefixCandidate& sequence : sequences) sequence_ids_.push_back(sequence.sequence_id);
  order_.resize(sequences.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::sort(order_, [&](int32_t i, int32_t j) {
    const auto &a = sequences[static_cast<size_t>(i)], &b = sequences[static_cast<size_t>(j)];
    const int64_t most = std::min(a.num_keys, b.num_keys) / block_size_;
    const int64_t same = SameBlocks(a.block_table.data(), b.block_table.data(), most);
    if (same < most) return a.block_table[same] < b.block_table[same];
    if (a.num_keys != b.num_keys) return a.num_keys < b.num_keys;
    return i < j;
  });
}

// The cut that spares most keys: best[i] of the first i sequences, the last group of them being one
// of the up to kMaxGroup that end there.
void PrefixGroups::Cut(size_t begin, size_t end) {
  struct Best {
    int64_t spared = 0;
    size_t begin = 0;  // of the last group
    int64_t num_keys = 0;
  };
  std::vector<Best> best(end - begin + 1);
  for (size_t i = 1; i < best.size(); ++i) {
    best[i] = {best[i - 1].spared, i - 1, 0};
    int64_t num_keys = std::numeric_limits<int64_t>::max();
    for (size_t first = i - 1; first-- > 0 && i - first <= kMaxGroup;) {
      num_keys = std::min(num_keys, shared_[begin + first]);
      const int64_t spared = best[first].spared + num_keys * static_cast<int64_t>(i - first - 1);
      if (spared > best[i].spared) best[i] = {spared, first, num_keys};
    }
  }
  const size_t first_group = groups_.size();
  for (size_t i = best.size() - 1; i > 0; i = best[i].begin) {
    groups_.push_back({begin + i, best[i].num_keys});
  }
  std::reverse(groups_.begin() + static_cast<int64_t>(first_group), groups_.end());
}

void PrefixGroups::Write(std::span<const PrefixCandidate> sequences, int32_t* rows) {
  Sort(sequences);
  const size_t count = sequences.size();
  shared_.assign(count, 0);
  for (size_t i = 0; i + 1 < count; ++i) {
    shared_[i] = SharedKeys(sequences[static_cast<size_t>(order_[i])],
                            sequences[static_cast<size_t>(order_[i + 1])]);
  }
  groups_.clear();
  for (size_t begin = 0, end; begin < count; begin = end) {
    for (end = begin + 1; end < count && shared_[end - 1] > 0;) ++end;
    if (end == begin + 1) {
      groups_.push_back({end, 0});
    } else {
      Cut(begin, end);
    }
  }
  size_t begin = 0;
  for (const Group& group : groups_) {
    for (size_t i = begin; i < group.end; ++i) {
      *rows++ = order_[i];
      *rows++ = static_cast<int32_t>(begin);
      *rows++ = static_cast<int32_t>(group.end);
      *rows++ = static_cast<int32_t>(group.num_keys);
    }
    begin = group.end;
  }
}

}  // namespace longhand::runner
