#include "tests/unit/coordinator/engine/fake_workers.h"

#include <iterator>
#include <set>

#include "common/check.h"
#include "tests/unit/coordinator/engine/fake_constraint.h"
#include "tests/unit/coordinator/engine/fake_model.h"

namespace longhand::engine {

FakeWorkers::FakeWorkers(const GroupShape& shape, const EngineConfig& config, int64_t epoch)
    : shape_(shape),
      config_(config),
      epoch_(epoch),
      kv_(static_cast<size_t>(shape.num_blocks * shape.block_size)),
      host_kv_(static_cast<size_t>(shape.num_host_blocks * shape.block_size)),
      encoder_(static_cast<size_t>(shape.encoder_cache_tokens)),
      in_hand_(shape.num_ranks) {}

void FakeWorkers::PutImage(const ImageInput& image) {
  LONGHAND_CHECK(images_.emplace(image.hash, image.num_tokens).second)
      << "pixels were sent while the old ones are there";
  int64_t num_tokens = 0;
  for (const auto& [hash, count] : images_) num_tokens += count;
  LONGHAND_CHECK_LE(num_tokens, shape_.encoder_cache_tokens) << "more pixels than fill the cache";
}

StepResult FakeWorkers::Run(const StepPlan& plan) {
  LONGHAND_CHECK_EQ(plan.epoch, epoch_);
  LONGHAND_CHECK_EQ(plan.step, last_step_ + 1);
  last_step_ = plan.step;
  LONGHAND_CHECK_LE(plan.num_tokens(), config_.max_num_batched_tokens);
  for (const int64_t id : plan.released_sequences) {
    LONGHAND_CHECK(sequences_.erase(id) == 1) << "sequence " << id << " is released but unknown";
  }
  for (const ContentHash& image : plan.released_images) {
    LONGHAND_CHECK(images_.erase(image) == 1) << "an image is released but unknown";
  }
  Copy(plan.swaps_out, kv_, &host_kv_);
  Copy(plan.swaps_in, host_kv_, &kv_);
  Copy(plan.block_copies, kv_, &kv_);
  for (const EncodeImageItem& item : plan.images) Encode(item);
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  std::set<int64_t> named;
  for (const SequenceChunk& chunk : plan.chunks) {
    LONGHAND_CHECK(named.insert(chunk.sequence_id).second) << "two chunks of one sequence";
    SequenceResult sequence = RunChunk(chunk);
    if (!sequence.tokens.empty() || !sequence.score_logprobs.empty()) {
      result.sequences.push_back(std::move(sequence));
    }
  }
  LONGHAND_CHECK_LE(static_cast<int64_t>(sequences_.size()), config_.max_num_seqs);
  return result;
}

void FakeWorkers::Copy(const std::vector<BlockCopy>& copies, const Slots& from, Slots* to) const {
  for (const BlockCopy& copy : copies) {
    for (int32_t i = 0; i < shape_.block_size; ++i) {
      to->at(copy.to * shape_.block_size + i) = from.at(copy.from * shape_.block_size + i);
    }
  }
}

void FakeWorkers::Encode(const EncodeImageItem& item) {
  const auto image = images_.find(item.image);
  LONGHAND_CHECK(image != images_.end()) << "an image is encoded before its pixels came";
  LONGHAND_CHECK(item.layer_end > item.layer_begin && item.layer_end <= shape_.num_encoder_layers);
  ImageInHand& hand = in_hand_.at(item.rank);
  LONGHAND_CHECK(item.layer_begin == 0 ||
                 (hand.image == item.image && hand.num_layers_done == item.layer_begin))
      << "rank " << item.rank << " has not run layer " << item.layer_begin - 1
      << " of this image last";
  hand = {item.image, item.layer_end};
  if (item.layer_end < shape_.num_encoder_layers) return;
  for (int32_t row = 0; row < image->second; ++row) {
    encoder_.at(item.cache_row + row) = ImageEmbedding(item.image, row);
  }
}

uint64_t& FakeWorkers::Slot(const KnownSequence& sequence, int64_t token_idx) {
  const int64_t block = sequence.block_table.at(token_idx / shape_.block_size);
  return kv_.at(block * shape_.block_size + token_idx % shape_.block_size);
}

std::vector<uint64_t> FakeWorkers::Embeddings(const SequenceChunk& chunk,
                                              const KnownSequence& sequence) const {
  std::vector<uint64_t> embeddings;
  for (int32_t token_id : chunk.token_ids) {
    if (token_id == kTokenOnDevice) token_id = sequence.last_sampled;
    LONGHAND_CHECK(token_id >= 0) << "a token on the device was never sampled";
    embeddings.push_back(TokenEmbedding(token_id));
  }
  for (const ImageSpan& span : chunk.image_spans) {
    for (int32_t i = 0; i < span.num_tokens; ++i) {
      embeddings.at(span.offset + i) = encoder_.at(span.cache_row + i);
    }
  }
  return embeddings;
}

SequenceResult FakeWorkers::RunChunk(const SequenceChunk& chunk) {
  if (!chunk.start.empty())
    sequences_[chunk.sequence_id] = KnownSequence{
        chunk.start[0].sampling, chunk.start[0].biases, {}, chunk.num_computed_tokens, -1};
  const auto found = sequences_.find(chunk.sequence_id);
  LONGHAND_CHECK(found != sequences_.end())
      << "sequence " << chunk.sequence_id << " was never started";
  KnownSequence& sequence = found->second;
  if (!chunk.start.empty() && sequence.sampling.HasPenalties()) {
    LONGHAND_CHECK(!chunk.start[0].prompt_token_ids.empty()) << "penalties need the prompt";
  }
  LONGHAND_CHECK_EQ(chunk.num_computed_tokens, sequence.num_computed_tokens);
  LONGHAND_CHECK_EQ(chunk.positions.size(), 3 * chunk.token_ids.size());
  LONGHAND_CHECK_EQ(chunk.first_block_idx, static_cast<int32_t>(sequence.block_table.size()));
  sequence.block_table.insert(sequence.block_table.end(), chunk.new_block_ids.begin(),
                              chunk.new_block_ids.end());

  const std::vector<uint64_t> embeddings = Embeddings(chunk, sequence);
  uint64_t context = 0;
  for (int64_t idx = 0; idx < chunk.num_computed_tokens; ++idx) {
    context = Mix(context, Slot(sequence, idx));
  }
  SequenceResult result;
  result.sequence_id = chunk.sequence_id;
  for (size_t i = 0; i < embeddings.size(); ++i) {
    const int64_t idx = sequence.num_computed_tokens++;
    uint64_t& slot = Slot(sequence, idx);
    slot = SlotValue(context, embeddings[i], &chunk.positions[3 * i]);
    context = Mix(context, slot);
    if (chunk.score_token_ids.empty()) continue;
    const int32_t token_id = chunk.score_token_ids.at(idx - chunk.num_computed_tokens);
    result.score_logprobs.push_back(token_id < 0 ? 0 : ScoreToken(context, token_id));
    for (int32_t top = 0; top < chunk.num_score_top; ++top)
      result.score_top.push_back({top, token_id < 0 ? 0 : ScoreToken(context, top)});
  }
  if (!chunk.sample) return result;
  std::vector<int32_t> suppressed = Forbidden(chunk.allowed_tokens);
  LONGHAND_CHECK_LT(std::ssize(suppressed), kFakeVocabSize) << "a mask without a bit";
  suppressed.insert(suppressed.end(), chunk.suppressed_token_ids.begin(),
                    chunk.suppressed_token_ids.end());
  result.tokens.push_back(
      SampleToken(context, sequence.sampling, sequence.biases, chunk.output_position, suppressed));
  sequence.last_sampled = result.tokens[0].token_id;
  return result;
}

}  // namespace longhand::engine
