#include "coordinator/engine/chunk_builder.h"

#include <algorithm>
#include <array>

#include "common/check.h"

namespace longhand::engine {
namespace {

static_assert(kTokenOnDevice == -1);  // as KnownToken says

void AddTokens(const Sequence& sequence, int64_t begin, int64_t end, SequenceChunk* chunk) {
  chunk->token_ids.reserve(end - begin);
  chunk->positions.reserve(3 * (end - begin));
  for (int64_t idx = begin; idx < end; ++idx) {
    chunk->token_ids.push_back(sequence.KnownToken(idx));
    const std::array<int32_t, 3> position = sequence.Position(idx);
    chunk->positions.insert(chunk->positions.end(), position.begin(), position.end());
  }
}

void AddBlocks(
    Sequence& sequence, int64_t end, int32_t block_size, BlockPool& pool, SequenceChunk* chunk) {
  const int64_t num_blocks = (end + block_size - 1) / block_size;
  LONGHAND_CHECK_LE(num_blocks, sequence.num_reserved_blocks);
  std::vector<int32_t>& table = sequence.block_table;
  // Workers do not know what the sequence shares with others, either.
  const size_t first = sequence.last_step == 0 ? 0 : table.size();
  while (static_cast<int64_t>(table.size()) < num_blocks) table.push_back(pool.TakeReserved());
  chunk->first_block_idx = static_cast<int32_t>(first);
  chunk->new_block_ids.assign(table.begin() + static_cast<int64_t>(first), table.end());
}

// The parts of images that lie in [begin, end). Images before num_prefilled_images lie before
// `begin`.
void AddImageSpans(const Sequence& sequence, int64_t begin, int64_t end, SequenceChunk* chunk) {
  const std::vector<ImageInput>& images = sequence.request->images;
  for (size_t i = sequence.num_prefilled_images; i < images.size() && images[i].offset < end; ++i) {
    const int64_t span_begin = std::max<int64_t>(begin, images[i].offset);
    const int64_t span_end =
        std::min<int64_t>(end, int64_t{images[i].offset} + images[i].num_tokens);
    if (span_begin >= span_end) continue;
    LONGHAND_CHECK(i < sequence.num_ready_images)
        << "image " << i << " is prefilled before it is encoded";
    chunk->image_spans.push_back(
        {static_cast<int32_t>(span_begin - begin), static_cast<int32_t>(span_end - span_begin),
         sequence.image_entries[i]->first_row + span_begin - images[i].offset});
  }
}

// Each log-probability of the prompt is asked for once, also when its group is lost in between.
void AddScores(const Sequence& sequence, int64_t begin, int64_t end, SequenceChunk* chunk) {
  const std::vector<int32_t>& prompt = sequence.request->token_ids;
  const int64_t last = sequence.request->num_prompt_tokens() - 1;
  if (!sequence.MustScore() || begin >= last || end <= sequence.num_scores) return;
  for (int64_t idx = begin; idx < end; ++idx) {
    const bool is_wanted = idx >= sequence.num_scores && idx < last;
    chunk->score_token_ids.push_back(is_wanted ? prompt[idx + 1] : -1);
  }
  chunk->num_score_top = sequence.request->num_top_prompt_logprobs;
}

void AddStart(const Sequence& sequence, SequenceChunk* chunk) {
  SequenceStart& start = chunk->start.emplace_back();
  start.sampling = sequence.sampling;
  start.biases = sequence.request->biases;
  if (sequence.request->adapter != nullptr) start.adapter = sequence.request->adapter->slot;
  if (!sequence.sampling.HasPenalties()) return;
  start.prompt_token_ids = sequence.request->token_ids;
  start.output_token_ids = sequence.output_token_ids;
}

void AddSuppressed(const Sequence& sequence, SequenceChunk* chunk) {
  chunk->allowed_tokens = sequence.allowed_tokens;
  if (!chunk->allowed_tokens.empty()) return;
  const int64_t ahead = chunk->output_position - std::ssize(sequence.output_token_ids);
  LONGHAND_CHECK(ahead == 0 || ahead == 1) << ahead << " tokens ahead of what is known";
  const TokenRules& rules = sequence.rules[static_cast<size_t>(ahead)];
  chunk->suppressed_token_ids = rules.banned_ids;
  if (rules.may_end) return;
  chunk->suppressed_token_ids.insert(chunk->suppressed_token_ids.end(),
                                     sequence.stop_token_ids.begin(),
                                     sequence.stop_token_ids.end());
}

}  // namespace

SequenceChunk BuildChunk(
    Sequence& sequence, int64_t num_tokens, int64_t step, int32_t block_size, BlockPool& pool) {
  const int64_t begin = sequence.num_planned_tokens;
  const int64_t end = begin + num_tokens;
  LONGHAND_CHECK(num_tokens > 0 && end <= sequence.num_tokens())
      << "chunk " << begin << " to " << end << " of " << sequence.num_tokens() << " tokens";
  SequenceChunk chunk;
  chunk.sequence_id = sequence.id;
  chunk.num_computed_tokens = begin;
  AddTokens(sequence, begin, end, &chunk);
  AddBlocks(sequence, end, block_size, pool, &chunk);
  AddImageSpans(sequence, begin, end, &chunk);
  AddScores(sequence, begin, end, &chunk);
  if (sequence.last_step == 0) AddStart(sequence, &chunk);
  chunk.sample = end == sequence.num_tokens() && sequence.request->max_tokens > 0;
  chunk.output_position = sequence.num_planned_samples;
  sequence.num_planned_tokens = end;
  if (chunk.sample) {
    AddSuppressed(sequence, &chunk);
    ++sequence.num_planned_samples;
  }
  sequence.last_step = step;
  return chunk;
}

}  // namespace longhand::engine
