// EncoderCache: which images are, or are being, encoded, and where in the workers' encoder cache.
//
// One entry an image, by content hash, shared by all sequences that show it. An entry has users
// from the time a sequence asks for it until that sequence's prefill has passed the image; then it
// stays, least recently used first out, for the next sequence with the same picture. Its rows
// return when the workers have dropped its pixels: so what they hold of pixels is bounded by the
// rows, and pixels sent again never meet the release of the old ones. Engine thread (owned by
// Scheduler).
#pragma once

#include <cstdint>
#include <cstring>
#include <list>
#include <optional>
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
    int32_t rank = 0;      // which encodes it
    int32_t adapter = -1;  // slot of the adapter that it is encoded with
    bool pixels_arrived = false;
    bool pixels_dropped = false;  // the step that told the workers has run
    bool given_up = false;        // half-made and unwanted; gone when its pixels are
    int32_t num_planned_layers = 0;
    int64_t last_step = 0;     // latest that encodes it
    int64_t release_step = 0;  // tells the workers to drop its pixels
    int32_t num_users = 0;
    std::list<Entry*>::iterator idle_place;  // in idle_, while complete and without users
  };

  EncoderCache(int64_t num_rows, int32_t num_layers, int32_t num_ranks);

  struct Acquired {
    Entry* entry = nullptr;  // null: no room now, ask again in a later step
    bool created = false;    // its pixels must be sent
  };
  // One more user of the image. New ones go round robin over the ranks.
  Acquired Acquire(const ImageInput& image);
  // One user less.
  void Release(Entry& entry);
  // Half-made images that nobody wants go, once no step in flight encodes them.
  void GiveUpUnwanted();

  // Embeddings are there for every chunk of the step that is being planned, or of a later one.
  bool IsComplete(const Entry& entry) const { return entry.num_planned_layers == num_layers_; }
  void OnPixelsArrived(const ContentHash& image);

  // What `step` encodes: each rank one image after the other, as they were acquired, up to
  // `max_patch_layers`, but at least one layer, so that the largest image moves too. A rank that
  // has begun an image finishes it before the next. `num_patch_layers`: of the rank with the most.
  std::vector<EncodeImageItem> PlanEncoding(int64_t step,
                                            int64_t max_patch_layers,
                                            int64_t* num_patch_layers);
  bool has_releases() const { return !unsent_releases_.empty(); }
  // The images whose pixels `step` tells the workers to drop.
  std::vector<ContentHash> TakeReleases(int64_t step);
  // `step` and all before it have run.
  void Commit(int64_t step);

  int64_t num_rows() const { return num_rows_; }
  int64_t num_free_rows() const { return rows_.num_free(); }
  int64_t num_images_encoded() const { return num_images_encoded_; }
  int64_t num_images_acquired() const { return num_images_acquired_; }
  int64_t num_images_found() const { return num_images_found_; }  // of these, already here
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
  std::optional<int64_t> AllocateRows(int64_t count);
  void PlanLayers(Entry& entry,
                  int64_t step,
                  int64_t max_patch_layers,
                  int64_t* num_planned,
                  std::vector<EncodeImageItem>* items);
  void Erase(Entry& entry);

  const int64_t num_rows_;
  const int32_t num_layers_;
  const int32_t num_ranks_;
  RowAllocator rows_;
  std::unordered_map<ContentHash, Entry, HashOfHash> entries_;
  std::list<Entry*> idle_;               // complete, without users; least recently used first
  std::vector<Entry*> encoding_;         // layers still to plan, in the order of Acquire
  std::vector<Entry*> in_hand_;          // [num_ranks]: begun and not finished; null: none
  std::vector<Entry*> completed_;        // last layer planned, not yet run
  std::vector<Entry*> unsent_releases_;  // pixels to be dropped
  std::vector<Entry*> sent_releases_;    // by release_step
  int64_t committed_step_ = 0;
  int32_t next_rank_ = 0;
  int64_t num_images_encoded_ = 0;
  int64_t num_images_acquired_ = 0;
  int64_t num_images_found_ = 0;
};

}  // namespace longhand::engine
