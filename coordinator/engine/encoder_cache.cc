#include "coordinator/engine/encoder_cache.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace longhand::engine {

EncoderCache::EncoderCache(int64_t num_rows, int32_t num_layers, int32_t num_ranks)
    : num_rows_(num_rows),
      num_layers_(num_layers),
      num_ranks_(num_ranks),
      rows_(num_rows),
      in_hand_(num_ranks) {}

EncoderCache::Acquired EncoderCache::Acquire(const ImageInput& image) {
  if (const auto found = entries_.find(image.hash); found != entries_.end()) {
    Entry& entry = found->second;
    if (entry.given_up) return {};
    ++num_images_acquired_;
    ++num_images_found_;
    if (++entry.num_users == 1 && IsComplete(entry)) idle_.erase(entry.idle_place);
    return {&entry, false};
  }
  const std::optional<int64_t> first_row = AllocateRows(image.num_tokens);
  if (!first_row.has_value()) return {};
  ++num_images_acquired_;
  Entry& entry = entries_[image.hash];
  entry.image = image.hash;
  entry.first_row = *first_row;
  entry.num_tokens = image.num_tokens;
  entry.num_patches = image.num_patches;
  entry.adapter = image.adapter;
  entry.rank = std::exchange(next_rank_, (next_rank_ + 1) % num_ranks_);
  entry.num_users = 1;
  encoding_.push_back(&entry);
  return {&entry, true};
}

void EncoderCache::Release(Entry& entry) {
  LONGHAND_CHECK(entry.num_users > 0) << "an image is released twice";
  if (--entry.num_users > 0) return;
  if (IsComplete(entry)) {
    entry.idle_place = idle_.insert(idle_.end(), &entry);
    return;
  }
  // Its rank goes on to the next image. Wanted again before it is given up, this one starts anew.
  entry.num_planned_layers = 0;
  if (in_hand_[entry.rank] == &entry) in_hand_[entry.rank] = nullptr;
}

void EncoderCache::OnPixelsArrived(const ContentHash& image) {
  if (const auto found = entries_.find(image); found != entries_.end()) {
    found->second.pixels_arrived = true;
  }
}

void EncoderCache::GiveUpUnwanted() {
  std::erase_if(encoding_, [&](Entry* entry) {
    // Pixels on their way would arrive after the release and stay for ever.
    if (entry->num_users > 0 || !entry->pixels_arrived || entry->last_step > committed_step_)
      return false;
    entry->given_up = true;
    unsent_releases_.push_back(entry);
    return true;
  });
}

std::vector<EncodeImageItem> EncoderCache::PlanEncoding(int64_t step,
                                                        int64_t max_patch_layers,
                                                        int64_t* num_patch_layers) {
  std::vector<EncodeImageItem> items;
  *num_patch_layers = 0;
  if (encoding_.empty()) return items;
  std::vector<int64_t> planned(num_ranks_, 0);
  for (Entry* entry : std::vector<Entry*>(in_hand_)) {
    if (entry != nullptr) PlanLayers(*entry, step, max_patch_layers, &planned[entry->rank], &items);
  }
  for (Entry* entry : encoding_) {
    const bool is_ready = entry->pixels_arrived && entry->num_users > 0 && !IsComplete(*entry);
    if (!is_ready || in_hand_[entry->rank] != nullptr) continue;
    PlanLayers(*entry, step, max_patch_layers, &planned[entry->rank], &items);
  }
  std::erase_if(encoding_, [&](const Entry* entry) { return IsComplete(*entry); });
  *num_patch_layers = *std::max_element(planned.begin(), planned.end());
  return items;
}

// As many layers as `num_planned`, what the entry's rank has in this step, leaves.
void EncoderCache::PlanLayers(Entry& entry,
                              int64_t step,
                              int64_t max_patch_layers,
                              int64_t* num_planned,
                              std::vector<EncodeImageItem>* items) {
  int64_t num_layers =
      std::min<int64_t>(num_layers_ - entry.num_planned_layers,
                        std::max<int64_t>(0, max_patch_layers - *num_planned) / entry.num_patches);
  if (*num_planned == 0) num_layers = std::max<int64_t>(num_layers, 1);
  if (num_layers == 0) return;
  *num_planned += num_layers * entry.num_patches;
  const int32_t layer_begin = entry.num_planned_layers;
  entry.num_planned_layers += static_cast<int32_t>(num_layers);
  entry.last_step = step;
  items->push_back({entry.image, entry.rank, layer_begin, entry.num_planned_layers, entry.first_row,
                    entry.adapter});
  in_hand_[entry.rank] = IsComplete(entry) ? nullptr : &entry;
  if (IsComplete(entry)) completed_.push_back(&entry);
}

std::vector<ContentHash> EncoderCache::TakeReleases(int64_t step) {
  std::vector<ContentHash> images;
  for (Entry* entry : std::exchange(unsent_releases_, {})) {
    entry->release_step = step;
    images.push_back(entry->image);
    sent_releases_.push_back(entry);
  }
  return images;
}

void EncoderCache::Commit(int64_t step) {
  committed_step_ = step;
  std::erase_if(sent_releases_, [&](Entry* entry) {
    if (entry->release_step > step) return false;
    entry->pixels_dropped = true;
    if (entry->given_up) Erase(*entry);
    return true;
  });
  std::erase_if(completed_, [&](Entry* entry) {
    if (entry->last_step > step) return false;
    unsent_releases_.push_back(entry);
    ++num_images_encoded_;
    return true;
  });
}

// Idle images make room, the least recently used first.
std::optional<int64_t> EncoderCache::AllocateRows(int64_t count) {
  std::optional<int64_t> first_row = rows_.Allocate(count);
  for (auto place = idle_.begin(); !first_row.has_value() && place != idle_.end();) {
    Entry& entry = **place;
    if (!entry.pixels_dropped) {
      ++place;
      continue;
    }
    place = idle_.erase(place);
    Erase(entry);
    first_row = rows_.Allocate(count);
  }
  return first_row;
}

void EncoderCache::Erase(Entry& entry) {
  rows_.Free(entry.first_row, entry.num_tokens);
  entries_.erase(ContentHash(entry.image));
}

void EncoderCache::CheckInvariants(int64_t num_users) const {
  int64_t users = 0;
  int64_t used_rows = 0;
  size_t num_idle = 0;
  size_t num_encoding = 0;
  std::vector<bool> taken(static_cast<size_t>(num_rows_));
  for (const auto& [image, entry] : entries_) {
    users += entry.num_users;
    used_rows += entry.num_tokens;
    num_idle += entry.num_users == 0 && IsComplete(entry) ? 1 : 0;
    num_encoding += IsComplete(entry) || entry.given_up ? 0 : 1;
    LONGHAND_CHECK_LE(entry.num_planned_layers, num_layers_);
    const bool is_begun = entry.num_planned_layers > 0 && !IsComplete(entry);
    LONGHAND_CHECK_EQ(is_begun, in_hand_[entry.rank] == &entry);
    LONGHAND_CHECK_LE(entry.first_row + entry.num_tokens, num_rows_);
    for (int64_t row = entry.first_row; row < entry.first_row + entry.num_tokens; ++row) {
      LONGHAND_CHECK(!taken[row]) << "encoder cache row " << row << " belongs to two images";
      taken[row] = true;
    }
  }
  LONGHAND_CHECK_EQ(users, num_users);
  LONGHAND_CHECK_EQ(used_rows + rows_.num_free(), num_rows_);
  LONGHAND_CHECK_EQ(num_idle, idle_.size());
  LONGHAND_CHECK_EQ(num_encoding, encoding_.size());
}

}  // namespace longhand::engine
