// Sequence: what the scheduler knows of one answer in the making. Planned counts include steps in
// flight; computed counts are what came back. Engine thread (owned by Scheduler).
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <memory>
#include <vector>

#include "common/sampling_params.h"
#include "coordinator/engine/encoder_cache.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/token_rules.h"

namespace longhand::engine {

struct ActiveRequest;

// kWaiting: holds at most host blocks. kRunning: holds its promise. kPreempted, kFinished: hold
// their blocks until no step in flight names them; then the former waits again.
enum class SequencePhase { kWaiting, kRunning, kPreempted, kFinished };

// An answer's place among the others: stays with it when it is preempted or its group is lost.
struct Standing {
  int64_t admission = 0;       // rises with first admission; 0: never admitted
  bool was_preempted = false;  // which happens once
};

// Where a sequence's first tokens come from, since its latest admission.
struct PrefixState {
  bool is_settled = false;        // it was decided: it may be planned
  int64_t num_cached_tokens = 0;  // found in the prefix cache
  uint64_t parent = 0;            // entry of the last block that the cache was told of
  size_t num_known_blocks = 0;    // of block_table, that it was told of
};

// Its first tokens, while it waits preempted.
struct SwappedBlocks {
  std::vector<int32_t> block_ids;  // in host memory
  int64_t num_tokens = 0;          // in them
};

struct Sequence {
  int64_t id = 0;  // rises with arrival; never used twice
  // Shared by the n sequences of a request; the last of them may outlive the request by the steps
  // in flight.
  std::shared_ptr<const Request> request;
  ActiveRequest* owner =
      nullptr;              // the engine's, which looks at it only while the phase is not kFinished
  SamplingParams sampling;  // the request's, with its choice
  std::vector<int32_t> stop_token_ids;  // the request's, with the end-of-sequence ids
  TimePoint queued_at{};
  int64_t expected_tokens = 0;  // of the answer; at most max_tokens
  Standing standing;

  SequencePhase phase = SequencePhase::kWaiting;
  // A group was lost while it ran this request, and no token came since: runs beside no other such.
  bool on_probation = false;
  std::vector<int32_t> output_token_ids;  // those that came back; the engine appends
  int64_t num_scores = 0;  // of the prompt's log-probabilities, those that came back; the same
  ComingRules rules;       // of the tokens after them; the engine's too
  // What its next token may be is known only when the one before it is: it is planned when all its
  // samples have come back.
  bool waits_for_tokens = false;
  std::vector<uint32_t> allowed_tokens;  // then: a mask for the next token, the rules in it
  int64_t num_planned_tokens = 0;   // of prompt and answer: in KV when the steps in flight have run
  int64_t num_computed_tokens = 0;  // in KV now
  int64_t num_planned_samples = 0;  // of the answer
  int64_t last_step = 0;            // latest that names it; 0: none
  int64_t num_reserved_blocks = 0;  // the promise, block_table included
  int64_t num_charged_tokens = 0;   // to its tenant, in this epoch
  std::vector<int32_t> block_table;
  PrefixState prefix;
  SwappedBlocks swapped;

  // Per image of the request, in order: [0, num_acquired_images) were asked for, of these
  // [0, num_ready_images) can be prefilled, of these [0, num_prefilled_images) are in KV and given
  // back.
  std::vector<EncoderCache::Entry*> image_entries;
  size_t num_acquired_images = 0;
  size_t num_ready_images = 0;
  size_t num_prefilled_images = 0;

  // Log-probabilities of the prompt are made where its tokens are computed, for the first choice:
  // that of token i + 1 with token i. So those from num_scores on must be, up to the last but one.
  bool MustScore() const {
    return request->prompt_logprobs && sampling.choice == 0 &&
           num_scores < request->num_prompt_tokens() - 1;
  }
  // Tokens that exist or are being sampled.
  int64_t num_tokens() const { return request->num_prompt_tokens() + num_planned_samples; }
  int64_t max_num_tokens() const { return request->num_prompt_tokens() + request->max_tokens; }
  // Token `idx` of prompt and answer together; -1 while only a step in flight knows it.
  int32_t KnownToken(int64_t idx) const {
    const int64_t output_idx = idx - request->num_prompt_tokens();
    if (output_idx < 0) return request->token_ids[idx];
    const auto num_known = static_cast<int64_t>(output_token_ids.size());
    return output_idx < num_known ? output_token_ids[output_idx] : -1;
  }
  // Its time, height and width (M-RoPE).
  std::array<int32_t, 3> Position(int64_t idx) const {
    if (idx < request->num_prompt_tokens()) {
      const int32_t* position = request->positions.data() + 3 * idx;
      return {position[0], position[1], position[2]};
    }
    const int32_t position = static_cast<int32_t>(idx) + request->rope_delta;
    return {position, position, position};
  }
  // The token after the last planned one exists, or will before the next step runs.
  bool CanAdvance() const {
    if (waits_for_tokens && num_planned_samples != std::ssize(output_token_ids)) return false;
    if (request->max_tokens == 0) return num_planned_tokens < num_tokens();
    return num_planned_tokens < num_tokens() && num_planned_samples < request->max_tokens;
  }
  // One token and a sample: a running stream.
  bool IsDecoding() const {
    return num_planned_samples > 0 && num_planned_tokens == num_tokens() - 1;
  }
};

}  // namespace longhand::engine
