// PrefixCache: which KV blocks hold what, so that a prompt that begins like an earlier one does not
// have to be computed again.
//
// A block is found by everything that its keys and values are a function of: its tokens, positions
// and images, and the block before it, which stands for all that came before. Entries are compared
// in full, not by their hash, so no request can be made to hit what is not its own. A cache serves
// one epoch of one worker group: checkpoint and dtypes are the same for all that is in it. Engine
// thread (owned by Scheduler).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/step_plan.h"

namespace longhand::engine {

class PrefixCache {
 public:
  // Of a full block.
  struct Content {
    struct Image {
      ContentHash hash{};  // of its pixels and their size
      int64_t offset = 0;  // of its first token from the block's; negative if that is before it
      friend bool operator==(const Image&, const Image&) = default;
    };
    uint64_t parent = 0;  // the entry of the block before; 0 for the first
    std::string salt;     // of the first block: who may share it
    std::vector<int32_t> token_ids;
    std::vector<int32_t> positions;  // [token_ids, 3]
    std::vector<Image> images;       // that have tokens in the block
    friend bool operator==(const Content&, const Content&) = default;
  };
  struct Entry {
    uint64_t id = 0;  // never used twice
    int32_t block_id = 0;
  };

  explicit PrefixCache(int64_t num_blocks) : entries_(static_cast<size_t>(num_blocks)) {}

  std::optional<Entry> Find(const Content& content) const;
  // `block_id`, which has no entry, holds the content. Where another block holds it already, that
  // one stays the one that is found. What children of the content are to name as their parent.
  uint64_t Insert(Content content, int32_t block_id);
  // Of a block that has an entry.
  std::optional<uint64_t> IdOf(int32_t block_id) const;
  bool Contains(int32_t block_id) const { return entries_[block_id] != nullptr; }
  // The block will hold something else.
  void Forget(int32_t block_id);

  int64_t num_entries() const { return static_cast<int64_t>(by_content_.size()); }

 private:
  struct Hash {
    size_t operator()(const Content& content) const;
  };
  using Table = std::unordered_map<Content, Entry, Hash>;

  Table by_content_;
  std::vector<const Table::value_type*> entries_;  // [num_blocks], or null
  uint64_t next_id_ = 1;
};

}  // namespace longhand::engine
