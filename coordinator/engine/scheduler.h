// Scheduler: what runs in the next step.
//
// Continuous batching: every running stream gets its token in every step, and what is left of the
// token budget, up to a bound, goes to prefill in chunks (prefill_share.h). WaitingQueue says who
// is admitted next; an admitted sequence is promised the blocks of its expected length, the oldest
// ones of their whole length. Who outgrows its promise gets more, if need be from the youngest,
// which is preempted, once in its life; what it had is kept in host memory where there is room, and
// computed again where not. Planning runs ahead of results: Plan()
// may be called while earlier steps are in flight, and what those name is kept until they are
// committed. One scheduler serves one epoch of a worker group. Engine thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "common/thread_checker.h"
#include "coordinator/engine/block_pool.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/encoder_cache.h"
#include "coordinator/engine/host_blocks.h"
#include "coordinator/engine/prefix_cache.h"
#include "coordinator/engine/sequence.h"
#include "coordinator/engine/step_pace.h"
#include "coordinator/engine/waiting_queue.h"

namespace longhand::engine {

class Scheduler {
 public:
  // `totals` has what waits here and with the schedulers that share it.
  Scheduler(const EngineConfig& config,
            const GroupShape& shape,
            int64_t epoch,
            std::shared_ptr<QueueTotals> totals = std::make_shared<QueueTotals>());

  // kInvalidArgument with both numbers when the request could never run here.
  Status CheckFits(const Request& request) const;
  // The same, and kResourceExhausted when too many wait, of all or of its tenant.
  Status CheckAdmissible(const Request& request) const;
  // Queues a sequence whose request fits.
  Sequence& Add(std::unique_ptr<Sequence> sequence);
  // The answer is over, for whatever reason. The sequence is gone when no step in flight names it,
  // at once or later.
  void Finish(Sequence& sequence);

  struct Planned {
    std::optional<StepPlan>
        plan;  // nothing when there is nothing to do before a result or a request comes
    std::vector<const ImageInput*> images_to_send;
    std::vector<const Sequence*> admitted;  // again, too
  };
  // The next step. Pointers are valid until the next call.
  Planned Plan();
  void OnImageReady(const ContentHash& image) { encoder_cache_.OnPixelsArrived(image); }

  struct Progress {
    Sequence* sequence = nullptr;  // not finished
    int64_t begin = 0;             // the first token of its chunk
    bool is_whole = false;         // its prompt was all that was wanted, and is computed
    SequenceResult result;
  };
  // Takes the result of the oldest step in flight: what came of the sequences that still run.
  // Tokens of those that finished meanwhile are dropped. An error (the step's own, or a result that
  // does not fit its plan) ends the epoch.
  Result<std::vector<Progress>> Commit(StepResult result);

  int64_t epoch() const { return epoch_; }
  const GroupShape& shape() const { return shape_; }
  int64_t num_committed_steps() const { return committed_step_; }
  int64_t num_steps_in_flight() const { return static_cast<int64_t>(in_flight_.size()); }
  int64_t num_waiting() const { return waiting_.size() + static_cast<int64_t>(leaving_.size()); }
  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  // Of those that wait, the ones that ran until they were preempted, or still leave.
  int64_t num_preempted() const { return num_preempted_; }
  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t num_preempted_tokens() const { return num_preempted_tokens_; }  // to be computed again
  int64_t num_tenants() const { return waiting_.num_tenants(); }
  int64_t num_surplus_tokens() const { return num_surplus_tokens_; }
  // Tokens that the prefix cache was asked for, and of these those that it had.
  int64_t num_queried_tokens() const { return num_queried_tokens_; }
  int64_t num_hit_tokens() const { return num_hit_tokens_; }
  const BlockPool& block_pool() const { return block_pool_; }
  const HostBlocks& host_blocks() const { return host_blocks_; }
  const EncoderCache& encoder_cache() const { return encoder_cache_; }

  // LONGHAND_CHECKs everything that README.md promises. O(all state): for tests.
  void CheckInvariants() const;

 private:
  struct PlannedChunk {
    Sequence* sequence = nullptr;
    int64_t begin = 0;
    int64_t num_tokens = 0;
    bool samples = false;
    int64_t num_scores = 0;
    int64_t num_score_top = 0;  // of all scores together
    bool is_whole = false;
  };
  struct StepInFlight {
    int64_t step = 0;
    StepWork work;
    std::vector<PlannedChunk> chunks;
  };

  int64_t NumBlocksFor(int64_t num_tokens) const {
    return (num_tokens + shape_.block_size - 1) / shape_.block_size;
  }
  // The promise that the sequence is admitted with, or that it gets when it outgrows another.
  int64_t NumPromisedBlocks(const Sequence& sequence) const;
  int64_t NumWholeBlocks(const Sequence& sequence) const {
    return NumBlocksFor(sequence.max_num_tokens());
  }
  bool IsShort(const Sequence& sequence) const {
    return NumBlocksFor(sequence.num_tokens()) > sequence.num_reserved_blocks;
  }

  // Promises and preemption (scheduler_promises.cc).
  void ExtendPromises(StepPlan* plan);
  bool Extend(Sequence& sequence, int64_t num_blocks);
  bool MakeRoom(size_t running_idx, int64_t* num_coming_blocks, StepPlan* plan);
  bool IsSafe(const Sequence& changed, int64_t num_blocks) const;
  Sequence* FindVictim(size_t running_idx) const;
  void Preempt(Sequence& sequence);
  void RequeuePreempted(StepPlan* plan);
  void CancelUntaken(Sequence& sequence);

  // Tokens in host memory (scheduler_swap.cc).
  void SwapOut(Sequence& sequence, StepPlan* plan);
  void SwapIn(Sequence& sequence, StepPlan* plan);

  // Tokens that are in KV already (scheduler_prefix.cc).
  void SettlePrefixes(StepPlan* plan);
  void ReuseCached(Sequence& sequence);
  void ShareWith(const Sequence& first, Sequence& sequence, StepPlan* plan);
  void StartAt(Sequence& sequence, int64_t num_tokens) const;
  void CacheComputed(Sequence& sequence);

  void AdmitWaiting(Planned* planned);
  bool Admit(Sequence& sequence, Planned* planned);
  void CountPlaces();
  bool AnotherIsOnProbation(const Sequence& sequence) const;
  void AcquireImages(Planned* planned);
  void PlanDecode(StepPlan* plan, StepInFlight* in_flight);
  void PlanEncoding(StepPlan* plan, StepInFlight* in_flight);
  void PlanPrefill(StepPlan* plan, StepInFlight* in_flight);
  void AddChunk(Sequence& sequence, int64_t num_tokens, StepPlan* plan, StepInFlight* in_flight);
  int64_t NumPrefillTokens(Sequence& sequence) const;
  void CommitChunk(const PlannedChunk& chunk);
  void RetireFinished();
  void Retire(Sequence& sequence);
  void GiveBack(Sequence& sequence);
  void CheckSequence(const Sequence& sequence) const;
  void CheckPromises() const;
  void CheckBlocks() const;
  void CheckHostBlocks() const;

  const EngineConfig config_;
  const GroupShape shape_;
  const int64_t epoch_;
  const std::shared_ptr<QueueTotals> totals_;  // shared with other engines' schedulers
  ThreadChecker thread_;

  PrefixCache prefix_cache_;
  BlockPool block_pool_;
  HostBlocks host_blocks_;
  EncoderCache encoder_cache_;
  StepPace pace_;
  std::unordered_map<int64_t, std::unique_ptr<Sequence>> sequences_;  // every phase
  WaitingQueue waiting_;
  std::vector<Sequence*> running_;           // by admission
  std::vector<Sequence*> leaving_;           // preempted, named by a step in flight
  std::vector<Sequence*> retiring_;          // finished, named by a step in flight
  std::deque<StepInFlight> in_flight_;       // oldest first
  std::vector<int64_t> released_sequences_;  // for the next plan
  int64_t next_step_ = 1;
  int64_t committed_step_ = 0;
  int64_t next_admission_ = 1;
  // The latest plan found somebody without a block for its next token, or the oldest without its
  // whole promise: nobody is admitted before them.
  bool is_tight_ = false;
  // The latest plan left somebody waiting though fewer than max_num_seqs run.
  bool leaves_some_waiting_ = false;
  int64_t num_surplus_tokens_ = 0;
  int64_t num_queried_tokens_ = 0;
  int64_t num_hit_tokens_ = 0;
  int64_t num_preempted_ = 0;
  int64_t num_preemptions_ = 0;
  int64_t num_preempted_tokens_ = 0;
};

}  // namespace longhand::engine
