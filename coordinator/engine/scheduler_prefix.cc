// Scheduler: tokens that need not be computed, because they are in KV already. Either the prefix
// cache knows their blocks, or another answer to the same prompt has them, or they are swapped in.
//
// What a token leaves in KV is a function of the tokens and images up to it, to the bit, so an
// answer does not depend on where its first tokens came from.
#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/check.h"
#include "coordinator/engine/scheduler.h"

namespace longhand::engine {
namespace {

// The cache entry that block `block_idx` of the sequence would have.
PrefixCache::Content ContentOf(const Sequence& sequence,
                               int64_t block_idx,
                               uint64_t parent,
                               int64_t block_size) {
  const Request& request = *sequence.request;
  PrefixCache::Content content;
  content.parent = parent;
  // Lengths first: no two pairs read alike.
  if (block_idx == 0) {
    content.salt =
        std::to_string(request.tenant.size()) + ' ' + request.tenant + request.cache_salt;
    if (request.adapter != nullptr) {
      content.salt = "adapter " + std::to_string(request.adapter->load_id) + ' ' + content.salt;
    }
  }
  const int64_t begin = block_idx * block_size, end = begin + block_size;
  content.token_ids.reserve(static_cast<size_t>(block_size));
  content.positions.reserve(static_cast<size_t>(3 * block_size));
  for (int64_t idx = begin; idx < end; ++idx) {
    content.token_ids.push_back(sequence.KnownToken(idx));
    const std::array<int32_t, 3> position = sequence.Position(idx);
    content.positions.insert(content.positions.end(), position.begin(), position.end());
  }
  for (const ImageInput& image : request.images) {
    if (image.offset >= end) break;
    if (int64_t{image.offset} + image.num_tokens <= begin) continue;
    content.images.push_back({image.hash, image.offset - begin});
  }
  return content;
}

}  // namespace

// Decides for those that were admitted. Of several answers to a prompt the first computes it; the
// others wait until it is planned whole.
void Scheduler::SettlePrefixes(StepPlan* plan) {
  std::unordered_map<const Request*, const Sequence*> firsts;
  for (Sequence* sequence : running_) {
    const Request& request = *sequence->request;
    if (!sequence->swapped.block_ids.empty()) SwapIn(*sequence, plan);
    if (request.num_choices > 1) {
      const auto [first, is_first] = firsts.emplace(&request, sequence);
      if (!is_first && !sequence->prefix.is_settled && !sequence->MustScore()) {
        if (first->second->num_planned_tokens < request.num_prompt_tokens()) continue;
        ShareWith(*first->second, *sequence, plan);
      }
    }
    if (!sequence->prefix.is_settled) ReuseCached(*sequence);
  }
}

// The blocks of the longest beginning that the cache knows. The last token is computed in any case:
// what comes after it is sampled from that. So are those whose log-probabilities have not come.
void Scheduler::ReuseCached(Sequence& sequence) {
  PrefixState& prefix = sequence.prefix;
  prefix.is_settled = true;
  const int64_t block_size = shape_.block_size;
  const bool must_score = sequence.MustScore();
  if (!config_.enable_prefix_caching || (must_score && sequence.num_scores < block_size)) return;
  const int64_t last = must_score ? sequence.num_scores : sequence.num_tokens() - 1;
  const int64_t most = last / block_size;
  num_queried_tokens_ += sequence.num_tokens();
  int64_t num_blocks = 0;
  for (; num_blocks < most; ++num_blocks) {
    const auto entry =
        prefix_cache_.Find(ContentOf(sequence, num_blocks, prefix.parent, block_size));
    if (!entry.has_value()) break;
    block_pool_.ShareReserved(entry->block_id);
    sequence.block_table.push_back(entry->block_id);
    prefix.parent = entry->id;
  }
  prefix.num_known_blocks = static_cast<size_t>(num_blocks);
  prefix.num_cached_tokens = num_blocks * block_size;
  num_hit_tokens_ += prefix.num_cached_tokens;
  StartAt(sequence, prefix.num_cached_tokens);
}

// All of the prompt but its last token, from which the answer begins: full blocks as they are, and
// a copy of the one in which both would write. Workers copy before they compute, so what the plans
// before this one wrote is there.
void Scheduler::ShareWith(const Sequence& first, Sequence& sequence, StepPlan* plan) {
  const int64_t num_tokens = sequence.request->num_prompt_tokens() - 1;
  const auto num_full = static_cast<size_t>(num_tokens / shape_.block_size);
  for (size_t i = 0; i < num_full; ++i) {
    block_pool_.ShareReserved(first.block_table[i]);
    sequence.block_table.push_back(first.block_table[i]);
  }
  if (num_tokens % shape_.block_size != 0) {
    sequence.block_table.push_back(block_pool_.TakeReserved());
    plan->block_copies.push_back({first.block_table[num_full], sequence.block_table.back()});
  }
  sequence.prefix.is_settled = true;
  StartAt(sequence, num_tokens);
}

// Images that lie before are in KV, too.
void Scheduler::StartAt(Sequence& sequence, int64_t num_tokens) const {
  sequence.num_planned_tokens = sequence.num_computed_tokens = num_tokens;
  const std::vector<ImageInput>& images = sequence.request->images;
  size_t i = 0;
  while (i < images.size() && int64_t{images[i].offset} + images[i].num_tokens <= num_tokens) ++i;
  sequence.num_acquired_images = sequence.num_ready_images = sequence.num_prefilled_images = i;
}

// Tells the cache of blocks whose steps have come back, and whose tokens are known: nothing rolls
// them back.
void Scheduler::CacheComputed(Sequence& sequence) {
  if (!config_.enable_prefix_caching) return;
  PrefixState& prefix = sequence.prefix;
  const int64_t block_size = shape_.block_size;
  const int64_t num_known = std::min(sequence.num_computed_tokens,
                                     sequence.request->num_prompt_tokens() +
                                         static_cast<int64_t>(sequence.output_token_ids.size()));
  while (static_cast<int64_t>(prefix.num_known_blocks + 1) * block_size <= num_known) {
    const size_t i = prefix.num_known_blocks++;
    const int32_t block_id = sequence.block_table[i];
    // Shared with who told the cache of it.
    const std::optional<uint64_t> id = prefix_cache_.IdOf(block_id);
    prefix.parent = id.has_value()
                        ? *id
                        : prefix_cache_.Insert(ContentOf(sequence, static_cast<int64_t>(i),
                                                         prefix.parent, block_size),
                                               block_id);
  }
}

}  // namespace longhand::engine
