// FakeWorkers: a worker group that runs plans as step_plan.h defines them, over the fake model,
// with a paged cache, an encoder cache and sequence slots of the stated sizes. It LONGHAND_CHECKs
// everything a plan may not do.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/step_plan.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/request.h"

namespace longhand::engine {

class FakeWorkers {
 public:
  FakeWorkers(const GroupShape& shape, const EngineConfig& config, int64_t epoch);

  void PutImage(const ImageInput& image);
  StepResult Run(const StepPlan& plan);

  size_t num_sequences() const { return sequences_.size(); }
  size_t num_images() const { return images_.size(); }

 private:
  struct KnownSequence {
    SamplingParams sampling;
    std::vector<TokenBias> biases;
    std::vector<int32_t> block_table;
    int64_t num_computed_tokens = 0;
    int32_t last_sampled = -1;
  };
  struct ImageInHand {
    ContentHash image{};
    int32_t num_layers_done = 0;
  };

  using Slots = std::vector<uint64_t>;  // [blocks * block_size]
  void Copy(const std::vector<BlockCopy>& copies, const Slots& from, Slots* to) const;
  void Encode(const EncodeImageItem& item);
  SequenceResult RunChunk(const SequenceChunk& chunk);
  uint64_t& Slot(const KnownSequence& sequence, int64_t token_idx);
  std::vector<uint64_t> Embeddings(const SequenceChunk& chunk, const KnownSequence& sequence) const;

  const GroupShape shape_;
  const EngineConfig config_;
  const int64_t epoch_;
  int64_t last_step_ = 0;
  Slots kv_;
  Slots host_kv_;
  std::vector<uint64_t> encoder_;  // [encoder_cache_tokens]
  std::map<int64_t, KnownSequence> sequences_;
  std::map<ContentHash, int32_t> images_;  // pixels, here as the number of tokens
  std::vector<ImageInHand> in_hand_;       // [num_ranks]: one half-made image on each
};

}  // namespace longhand::engine
