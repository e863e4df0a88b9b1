#include "tests/parity/step_driver.h"

#include <algorithm>
#include <utility>

namespace longhand::parity {
namespace {

// Images are encoded in two pieces, so that a piece meets the state that another one left.
int32_t LayersOfPiece(int64_t depth) { return static_cast<int32_t>((depth + 1) / 2); }

// How many tokens the sequence would like to run, if a step had room for any number.
int64_t WantedTokens(int64_t num_computed, int64_t prompt_len, int64_t num_logit_rows) {
  const int64_t bulk = prompt_len - num_logit_rows + 1;
  return num_computed < bulk ? bulk - num_computed : 1;
}

}  // namespace

StepDriver::StepDriver(WorkerGroup& group) : group_(group) {
  // Neighbours in a sequence are no neighbours in memory: 101 is prime to the number of blocks.
  for (int64_t i = 0; i < WorkerGroup::kNumBlocks; ++i) {
    free_blocks_.push_back(static_cast<int32_t>(i * 101 % WorkerGroup::kNumBlocks));
  }
}

std::vector<Answer> StepDriver::Drive(std::span<const RecordedPrompt> prompts,
                                      const DriveOptions& options) {
  LONGHAND_CHECK(options.forced.empty() || prompts.size() == 1) << prompts.size() << " prompts";
  encodings_.assign(static_cast<size_t>(group_.tp_size()), {});
  cache_rows_.clear();
  encoded_.clear();
  next_cache_row_ = 0;
  std::vector<Sequence> sequences;
  for (const RecordedPrompt& prompt : prompts) sequences.push_back(Admit(prompt));

  const auto is_done = [&](const Sequence& sequence) {
    return static_cast<int64_t>(sequence.answer.token_ids.size()) >= options.num_new;
  };
  std::vector<Answer> answers(prompts.size());
  while (!sequences.empty()) {
    const Result<StepResult> result = group_.Execute(MakePlan(sequences, options));
    LONGHAND_CHECK(result.ok()) << result.status();
    Collect(*result, sequences);
    for (Sequence& sequence : sequences) {
      if (!is_done(sequence)) continue;
      answers[static_cast<size_t>(sequence.prompt - prompts.data())] = std::move(sequence.answer);
      finished_.push_back(sequence.id);
      free_blocks_.insert(free_blocks_.end(), sequence.blocks.begin(), sequence.blocks.end());
    }
    std::erase_if(sequences, [&](const Sequence& sequence) {
      return std::find(finished_.begin(), finished_.end(), sequence.id) != finished_.end();
    });
  }
  return answers;
}

StepDriver::Sequence StepDriver::Admit(const RecordedPrompt& prompt) {
  for (const RecordedImage& image : prompt.images) {
    if (cache_rows_.contains(image.hash)) continue;
    const Status put = group_.PutImage(image.hash, image.height, image.width, image.pixels);
    LONGHAND_CHECK(put.ok()) << put;
    encodings_[cache_rows_.size() % encodings_.size()].push_back(
        {.image = image.hash, .cache_row = next_cache_row_, .adapter = image.adapter});
    cache_rows_[image.hash] = next_cache_row_;
    next_cache_row_ += image.num_tokens;
  }
  return {.id = next_sequence_id_++, .prompt = &prompt};
}

StepPlan StepDriver::MakePlan(std::vector<Sequence>& sequences, const DriveOptions& options) {
  StepPlan plan;
  plan.released_sequences = std::exchange(finished_, {});
  PlanEncodings(plan);
  int64_t room = options.chunk_tokens;
  for (Sequence& sequence : sequences) {
    if (room == 0 || !ImagesAreReady(*sequence.prompt)) continue;
    const int64_t num_tokens = std::min(
        room, WantedTokens(sequence.num_computed, sequence.prompt_len(), options.num_logit_rows));
    plan.chunks.push_back(MakeChunk(sequence, num_tokens, options));
    sequence.num_computed += num_tokens;
    room -= num_tokens;
  }
  return plan;
}

void StepDriver::PlanEncodings(StepPlan& plan) {
  const auto depth = static_cast<int32_t>(group_.config().vision.depth);
  for (size_t rank = 0; rank < encodings_.size(); ++rank) {
    if (encodings_[rank].empty()) continue;
    Encoding& encoding = encodings_[rank].front();
    const int32_t end = std::min(depth, encoding.next_layer + LayersOfPiece(depth));
    plan.images.push_back({.image = encoding.image,
                           .rank = static_cast<int32_t>(rank),
                           .layer_begin = encoding.next_layer,
                           .layer_end = end,
                           .cache_row = encoding.cache_row,
                           .adapter = encoding.adapter});
    encoding.next_layer = end;
    if (end < depth) continue;
    encoded_.insert(encoding.image);
    encodings_[rank].pop_front();
  }
}

bool StepDriver::ImagesAreReady(const RecordedPrompt& prompt) const {
  return std::all_of(prompt.images.begin(), prompt.images.end(),
                     [&](const RecordedImage& image) { return encoded_.contains(image.hash); });
}

SequenceChunk StepDriver::MakeChunk(Sequence& sequence,
                                    int64_t num_tokens,
                                    const DriveOptions& options) {
  const int64_t begin = sequence.num_computed;
  const int64_t end = begin + num_tokens;
  SequenceChunk chunk{.sequence_id = sequence.id, .num_computed_tokens = begin};
  for (int64_t index = begin; index < end; ++index) AddToken(sequence, index, options, chunk);
  AddImageSpans(sequence, num_tokens, chunk);
  GiveBlocks(sequence, end, chunk);
  if (begin == 0) {
    SequenceStart start{.sampling = options.sampling, .adapter = sequence.prompt->adapter};
    if (options.sampling.HasPenalties()) start.prompt_token_ids = sequence.prompt->token_ids;
    chunk.start.push_back(std::move(start));
  }
  chunk.sample = end > sequence.prompt_len() - options.num_logit_rows;
  chunk.output_position = std::max<int64_t>(0, end - sequence.prompt_len());
  return chunk;
}

void StepDriver::AddToken(const Sequence& sequence,
                          int64_t index,
                          const DriveOptions& options,
                          SequenceChunk& chunk) const {
  const RecordedPrompt& prompt = *sequence.prompt;
  const int32_t gap = index >= sequence.prompt_len() / 2 ? options.position_gap : 0;
  if (index < sequence.prompt_len()) {
    chunk.token_ids.push_back(prompt.token_ids[static_cast<size_t>(index)]);
    for (int64_t axis = 0; axis < 3; ++axis) {
      chunk.positions.push_back(prompt.positions[static_cast<size_t>(index * 3 + axis)] + gap);
    }
    return;
  }
  const auto output = static_cast<size_t>(index - sequence.prompt_len());
  chunk.token_ids.push_back(options.forced.empty() ? kTokenOnDevice : options.forced[output]);
  chunk.positions.insert(chunk.positions.end(), 3,
                         static_cast<int32_t>(index) + prompt.rope_delta + gap);
}

void StepDriver::AddImageSpans(const Sequence& sequence,
                               int64_t num_tokens,
                               SequenceChunk& chunk) const {
  const int64_t begin = sequence.num_computed;
  for (const RecordedImage& image : sequence.prompt->images) {
    const int64_t first = std::max(begin, image.offset);
    const int64_t last = std::min(begin + num_tokens, image.offset + image.num_tokens);
    if (first >= last) continue;
    chunk.image_spans.push_back({.offset = static_cast<int32_t>(first - begin),
                                 .num_tokens = static_cast<int32_t>(last - first),
                                 .cache_row = cache_rows_.at(image.hash) + first - image.offset});
  }
}

void StepDriver::GiveBlocks(Sequence& sequence, int64_t context_len, SequenceChunk& chunk) {
  chunk.first_block_idx = static_cast<int32_t>(sequence.blocks.size());
  while (static_cast<int64_t>(sequence.blocks.size()) * WorkerGroup::kBlockSize < context_len) {
    LONGHAND_CHECK(!free_blocks_.empty()) << "the test needs more blocks";
    chunk.new_block_ids.push_back(free_blocks_.front());
    sequence.blocks.push_back(free_blocks_.front());
    free_blocks_.pop_front();
  }
}

void StepDriver::Collect(const StepResult& result, std::vector<Sequence>& sequences) {
  for (const SequenceResult& sampled : result.sequences) {
    const auto found = std::find_if(sequences.begin(), sequences.end(),
                                    [&](const Sequence& s) { return s.id == sampled.sequence_id; });
    LONGHAND_CHECK(found != sequences.end()) << "a result of sequence " << sampled.sequence_id;
    if (found->num_computed < found->prompt_len()) continue;  // Logits were wanted, no token.
    for (const SampledToken& token : sampled.tokens) {
      found->answer.token_ids.push_back(token.token_id);
      found->answer.logprobs.push_back(token.logprob);
    }
  }
}

}  // namespace longhand::parity
