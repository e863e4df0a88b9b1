// EncoderCache: which images are, or are being, encoded, and where in the workers' encoder cache.
//
// One entry an image, by content hash, shared by all sequences that show it. An entry has users
// from the time a sequence asks for it until that sequence's prefill has passed the image; then it
// stays, least recently used first out, for the next sequence with the same picture. Engine thread
// (owned by Scheduler).
#pragma once

#include <cstdint>
#include <cstring>
#include <list>
#include <unordered_map>
#include <vector>

#include "common/step_plan.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/row_allocator.h"

namespace longhand::engine {

class EncoderCache {
 public:
  struct Entry {
    ContentHash image{};
    int64_t first_row = 0;
    int32_t num_tokens = 0;  // rows
    int32_t num_patches = 0;
    int32_t rank = 0;  // which encodes it
    bool pixels_arrived = false;
    int32_t num_planned_layers = 0;
    int64_t last_step = 0;  // latest that encodes it
    int32_t num_users = 0;
    std::list<Entry*>::iterator idle_place;  // in idle_, while complete and without users
  };

  EncoderCache(int64_t num_rows, int32_t num_layers, int32_t num_ranks);

  struct Acquired {
    Entry* entry = nullptr;  // null: no room now, ask again in a later step
    bool created = false;    // its pixels must be sent to entry->rank
  };
  // One more user of the image. New ones go round robin over the ranks.
  Acquired Acquire(const ImageInput& image);
  // One user less.
  void Release(Entry& entry);
  // Frees the rows of half-made images that nobody wants and no step in flight encodes.
  void GiveUpUnwanted();

  // Embeddings are there for every chunk of the step that is being planned, or of a later one.
  bool IsComplete(const Entry& entry) const { return entry.num_planned_layers == num_layers_; }
  void OnPixelsArrived(const ContentHash& image);

  // What `step` encodes: images in the order they were acquired, each rank up to
  // `max_patch_layers`, but at least one layer, so that the largest image moves too.
  std::vector<EncodeImageItem> PlanEncoding(int64_t step, int64_t max_patch_layers);
  bool has_releases() const { return !unsent_releases_.empty(); }
  // The images whose pixels `step` tells the workers to drop.
  std::vector<ContentHash> TakeReleases(int64_t step);
  // `step` and all before it have run.
  void Commit(int64_t step);

  int64_t num_rows() const { return num_rows_; }
  int64_t num_free_rows() const { return rows_.num_free(); }
  int64_t num_images_encoded() const { return num_images_encoded_; }
  // LONGHAND_CHECKs that entries and rows agree. `num_users`: what the sequences hold together.
  void CheckInvariants(int64_t num_users) const;

 private:
  struct HashOfHash {
    size_t operator()(const ContentHash& hash) const {
      size_t value;
      std::memcpy(&value, hash.data(), sizeof value);
      return value;
    }
  };
  struct SentRelease {
    ContentHash image{};
    int64_t step = 0;
  };

  bool IsReleasing(const ContentHash& image) const;
  std::optional<int64_t> AllocateRows(int64_t count);
  void Erase(Entry& entry);

  const int64_t num_rows_;
  const int32_t num_layers_;
  const int32_t num_ranks_;
  RowAllocator rows_;
  std::unordered_map<ContentHash, Entry, HashOfHash> entries_;
  std::list<Entry*> idle_;         // complete, without users; least recently used first
  std::vector<Entry*> encoding_;   // layers still to plan, in the order of Acquire
  std::vector<Entry*> completed_;  // last layer planned, not yet run
  // Pixels are sent again only after the step that drops the old ones has run: else it would drop
  // the new ones.
  std::vector<ContentHash> unsent_releases_;
  std::vector<SentRelease> sent_releases_;
  int64_t committed_step_ = 0;
  int32_t next_rank_ = 0;
  int64_t num_images_encoded_ = 0;
};

}  // namespace longhand::engine
