// StepPlan and StepResult: all that passes between the engine, which decides, and the workers, which execute.
//
// A plan is plain data: print it, record it, replay it against another backend. All ranks of a group get the same plan.
// Plans are executed in step order; the engine sends step N+1 while N runs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/sampling_params.h"
#include "common/status.h"

namespace longhand {

using ContentHash = std::array<uint8_t, 32>;  // SHA-256 of the resized pixels and their size

// In SequenceChunk::token_ids: the token that the latest earlier step sampled for this sequence. It never left the
// device when the plan was made.
inline constexpr int32_t kTokenOnDevice = -1;

// Of the likeliest tokens at one place, how many a request may ask for.
inline constexpr int32_t kMaxTopLogprobs = 20;

// One KV block becomes a copy of another, in every layer.
struct BlockCopy {
  int32_t from = 0;
  int32_t to = 0;
  friend bool operator==(const BlockCopy&, const BlockCopy&) = default;
};

// Runs ViT blocks [layer_begin, layer_end) of one image on one rank. The pixels were sent ahead (PutImage). The range
// that ends at the last block also merges, and broadcasts the embeddings to every rank's encoder cache.
struct EncodeImageItem {
  ContentHash image{};
  int32_t rank = 0;
  int32_t layer_begin = 0;
  int32_t layer_end = 0;
  int64_t cache_row = 0;  // first row in the encoder cache [encoder_cache_tokens, hidden_size]
  int32_t adapter = -1;   // slot of the adapter that it is encoded with; -1: none. The same in all its ranges
};

// Rows of the chunk that take their embedding from the encoder cache.
struct ImageSpan {
  int32_t offset = 0;  // first token within the chunk
  int32_t num_tokens = 0;
  int64_t cache_row = 0;
};

// What a worker needs to sample for a sequence, sent when the sequence is admitted (again).
struct SequenceStart {
  SamplingParams sampling;
  // Tokens that penalties count; both empty without penalties.
  std::vector<int32_t> prompt_token_ids;
  std::vector<int32_t> output_token_ids;
  int32_t adapter = -1;  // slot of its adapter, which all ranks have; -1: none
  std::vector<TokenBias> biases;  // by rising id, at most kMaxTokenBiases
};

// New tokens of one sequence in this step.
struct SequenceChunk {
  int64_t sequence_id = 0;
  std::vector<int32_t> token_ids;   // [query_len]
  std::vector<int32_t> positions;   // [query_len, 3]: time, height, width (M-RoPE)
  int64_t num_computed_tokens = 0;  // tokens in KV before the step; context_len = this + query_len
  // Block ids that fill the sequence's block table from index first_block_idx on. The worker keeps the table between
  // steps, so a plan carries only what is new.
  int32_t first_block_idx = 0;
  std::vector<int32_t> new_block_ids;
  std::vector<ImageSpan> image_spans;
  // Present in the first chunk after (re)admission; clears what the worker knew of the sequence.
  std::vector<SequenceStart> start;  // 0 or 1 elements
  bool sample = false;               // sample the token after the last one of the chunk
  int64_t output_position = 0;       // index of the sampled token in the answer: part of its random key
  // Tokens that cannot be sampled this time: while the answer may not end, those that would end it.
  std::vector<int32_t> suppressed_token_ids;
  // Empty, or a bit for each token of the vocabulary: bit id % 32 of word id / 32 says whether the token can be sampled
  // this time. Never without a bit.
  std::vector<uint32_t> allowed_tokens;
  // Empty, or [query_len]: the token whose log-probability is wanted after each token, -1 for none (prompt_logprobs).
  std::vector<int32_t> score_token_ids;
  int32_t num_score_top = 0;  // how many of the likeliest tokens are wanted beside each; at most kMaxTopLogprobs
};

struct StepPlan {
  int64_t epoch = 0;
  int64_t step = 0;  // rises by one; the engine's count from 1 in each epoch, the group's warm-up comes before
  // Before the step: forget these sequences; drop these images' pixels and half-made states.
  std::vector<int64_t> released_sequences;
  std::vector<ContentHash> released_images;
  // Then, in this order: KV blocks to blocks in host memory, back from there, and to other KV blocks. The chunks of the
  // plan see what came of it.
  std::vector<BlockCopy> swaps_out;
  std::vector<BlockCopy> swaps_in;
  std::vector<BlockCopy> block_copies;
  std::vector<EncodeImageItem> images;
  std::vector<SequenceChunk> chunks;

  int64_t num_tokens() const {
    int64_t count = 0;
    for (const SequenceChunk& chunk : chunks) count += static_cast<int64_t>(chunk.token_ids.size());
    return count;
  }
};

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;  // natural log, of the model's own distribution (before biases, penalties and temperature)
};

struct SampledToken {
  int32_t token_id = 0;
  float logprob = 0;                // as above; meaningless when num_logprobs is -1
  std::vector<TokenLogprob> top;    // [num_logprobs], best first
};

struct SequenceResult {
  int64_t sequence_id = 0;
  std::vector<SampledToken> tokens;    // 0..k
  std::vector<float> score_logprobs;   // [query_len] when the chunk asked; 0 where score_token_ids is -1
  std::vector<TokenLogprob> score_top; // [query_len, num_score_top], best first; the same
};

// Every rank reports its step; only rank 0 fills `sequences`.
struct StepResult {
  int64_t epoch = 0;
  int64_t step = 0;
  int32_t rank = 0;
  Status status;
  int64_t execute_us = 0;       // wall time on the rank, from where the step ahead had ended
  int64_t communicate_us = 0;   // of that, waiting in collectives
  std::vector<SequenceResult> sequences;
};

}  // namespace longhand
