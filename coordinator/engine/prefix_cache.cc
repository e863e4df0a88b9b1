#include "coordinator/engine/prefix_cache.h"

#include <cstring>
#include <functional>
#include <utility>

#include "common/check.h"

namespace longhand::engine {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 32);
}

}  // namespace

size_t PrefixCache::Hash::operator()(const Content& content) const {
  uint64_t hash = Mix(content.parent, std::hash<std::string>()(content.salt));
  for (const int32_t token_id : content.token_ids)
    hash = Mix(hash, static_cast<uint64_t>(token_id));
  for (const Content::Image& image : content.images) {
    uint64_t pixels = 0;  // a part of a hash is one
    std::memcpy(&pixels, image.hash.data(), sizeof(pixels));
    hash = Mix(Mix(hash, pixels), static_cast<uint64_t>(image.offset));
  }
  return static_cast<size_t>(hash);
}

std::optional<PrefixCache::Entry> PrefixCache::Find(const Content& content) const {
  const auto found = by_content_.find(content);
  if (found == by_content_.end()) return std::nullopt;
  return found->second;
}

uint64_t PrefixCache::Insert(Content content, int32_t block_id) {
  LONGHAND_CHECK(!Contains(block_id)) << "block " << block_id << " is cached twice";
  const auto [entry, is_new] = by_content_.emplace(std::move(content), Entry{next_id_, block_id});
  if (is_new) {
    ++next_id_;
    entries_[block_id] = &*entry;
  }
  return entry->second.id;
}

std::optional<uint64_t> PrefixCache::IdOf(int32_t block_id) const {
  if (!Contains(block_id)) return std::nullopt;
  return entries_[block_id]->second.id;
}

void PrefixCache::Forget(int32_t block_id) {
  const Table::value_type* const entry = std::exchange(entries_[block_id], nullptr);
  if (entry != nullptr) by_content_.erase(by_content_.find(entry->first));
}

}  // namespace longhand::engine
