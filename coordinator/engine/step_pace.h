// StepPace: how much of prompts and images goes into a step, so that who waits for it does not wait
// long: streams for their next token, or else prompts behind it.
//
// Steps that ran tell what a decode step, a prompt token and a patch in one ViT block take here.
// Where nothing was told yet, and on machines that are quick, the configured bounds hold. It moves
// work between steps, which changes no text. Engine thread (owned by Scheduler).
#pragma once

#include <cstdint>

#include "common/clock.h"

namespace longhand::engine {

// What a step does beside its streams' tokens.
struct StepWork {
  bool has_streams = false;
  int64_t num_prefill_tokens = 0;
  int64_t num_patch_layers = 0;  // patches times ViT blocks, of the rank that has the most
};

class StepPace {
 public:
  // However slow they are, a step may have so many: below, a step takes the time of its weights.
  static constexpr int64_t kLeastPrefillTokens = 32;

  // `target`: of a step that streams wait for, or, where these take longer alone, twice their time;
  // four times that of one without streams. 0: steps are as large as they may be.
  explicit StepPace(Duration target);

  void Observe(const StepWork& work, Duration took);

  // At most `most`, and at least 1.
  int64_t MaxPatchLayers(bool has_streams, int64_t most) const;
  // In a step of that work; at most `most`.
  int64_t MaxPrefillTokens(const StepWork& work, int64_t most) const;

 private:
  // Seconds a unit of work, of which the latest has the most weight.
  class Cost {
   public:
    void Add(double work, double seconds);
    double seconds_of_one() const { return work_ > 0 ? seconds_ / work_ : 0; }

   private:
    double work_ = 0, seconds_ = 0;
  };

  double Room(bool has_streams) const;

  const double target_seconds_;
  Cost decode_;  // of a whole step that has nothing else
  Cost prefill_;
  Cost encode_;
};

}  // namespace longhand::engine
