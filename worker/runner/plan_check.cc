#include "worker/runner/plan_check.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <unordered_set>

namespace longhand::runner {
namespace {

std::string HashPrefix(const ContentHash& hash) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (int i = 0; i < 4; ++i) {
    out += kDigits[hash[i] >> 4];
    out += kDigits[hash[i] & 15];
  }
  return out;
}

template <typename T>
bool Contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Every id is in [min, vocab_size).
Status CheckIds(std::string_view what,
                const std::vector<int32_t>& ids,
                int32_t min,
                int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id < min || id >= vocab_size) {
      return InvalidArgument(what, " holds ", id, "; ids are from ", min, " to ", vocab_size - 1);
    }
  }
  return OkStatus();
}

// Blocks exist, and none is written by two of the list.
Status CheckCopies(const char* name,
                   const std::vector<BlockCopy>& copies,
                   int64_t num_from,
                   int64_t num_to,
                   std::unordered_set<int32_t>* written) {
  for (const BlockCopy& copy : copies) {
    if (copy.from < 0 || copy.from >= num_from || copy.to < 0 || copy.to >= num_to) {
      return InvalidArgument(name, " holds block ", copy.from, " to ", copy.to, "; there are ",
                             num_from, " to copy from and ", num_to, " to copy to");
    }
    if (!written->insert(copy.to).second) {
      return InvalidArgument(name, " writes block ", copy.to, " twice");
    }
  }
  return OkStatus();
}

Status CheckBlockCopies(const StepPlan& plan, const PlanLimits& limits) {
  std::unordered_set<int32_t> host, in, copied;
  LONGHAND_RETURN_IF_ERROR(
      CheckCopies("swaps_out", plan.swaps_out, limits.num_blocks, limits.num_host_blocks, &host));
  LONGHAND_RETURN_IF_ERROR(
      CheckCopies("swaps_in", plan.swaps_in, limits.num_host_blocks, limits.num_blocks, &in));
  LONGHAND_RETURN_IF_ERROR(CheckCopies("block_copies", plan.block_copies, limits.num_blocks,
                                       limits.num_blocks, &copied));
  for (const BlockCopy& copy : plan.block_copies) {
    if (copied.contains(copy.from)) {
      return InvalidArgument("block_copies reads block ", copy.from, " and writes it");
    }
  }
  return OkStatus();
}

Status CheckAdapter(int32_t slot, const PlanContext& context) {
  if (slot == -1 || (context.adapters != nullptr && context.adapters->Has(slot))) return OkStatus();
  return FailedPrecondition("its adapter is in slot ", slot, " of ", context.limits.max_loras,
                            ", where none was loaded");
}

Status CheckBiases(const std::vector<TokenBias>& biases, const PlanLimits& limits) {
  if (std::ssize(biases) > kMaxTokenBiases) {
    return InvalidArgument("biases has ", biases.size(), " tokens; at most ", kMaxTokenBiases,
                           " are allowed");
  }
  int64_t last = -1;
  for (const TokenBias& bias : biases) {
    if (bias.token_id <= last || bias.token_id >= limits.vocab_size) {
      return InvalidArgument("biases holds token ", bias.token_id, " behind ", last,
                             "; ids must rise, to at most ", limits.vocab_size - 1);
    }
    if (!(std::abs(bias.bias) <= kMaxTokenBias)) {
      return InvalidArgument("the bias of token ", bias.token_id, " is ", bias.bias,
                             "; it must be from ", -kMaxTokenBias, " to ", kMaxTokenBias);
    }
    last = bias.token_id;
  }
  return OkStatus();
}

Status CheckStart(const SequenceStart& start, const PlanContext& context) {
  const PlanLimits& limits = context.limits;
  LONGHAND_RETURN_IF_ERROR(CheckAdapter(start.adapter, context));
  if (start.sampling.num_logprobs < -1 || start.sampling.num_logprobs > kMaxTopLogprobs) {
    return InvalidArgument("num_logprobs is ", start.sampling.num_logprobs,
                           "; it must be from -1 to ", kMaxTopLogprobs);
  }
  LONGHAND_RETURN_IF_ERROR(CheckBiases(start.biases, limits));
  const int64_t num_tokens =
      std::ssize(start.prompt_token_ids) + std::ssize(start.output_token_ids);
  if (num_tokens > limits.max_model_len) {
    return InvalidArgument("prompt_token_ids and output_token_ids have ", num_tokens,
                           " tokens; at most ", limits.max_model_len, " are allowed");
  }
  LONGHAND_RETURN_IF_ERROR(
      CheckIds("prompt_token_ids", start.prompt_token_ids, 0, limits.vocab_size));
  return CheckIds("output_token_ids", start.output_token_ids, 0, limits.vocab_size);
}

Status CheckAllowed(const SequenceChunk& chunk, const PlanLimits& limits) {
  if (chunk.allowed_tokens.empty()) return OkStatus();
  const int64_t num_words = kernels::MaskWords(limits.vocab_size);
  if (std::ssize(chunk.allowed_tokens) != num_words) {
    return InvalidArgument("allowed_tokens has ", chunk.allowed_tokens.size(), " words; ",
                           limits.vocab_size, " tokens need ", num_words);
  }
  const auto is_set = [](uint32_t word) { return word != 0; };
  if (std::none_of(chunk.allowed_tokens.begin(), chunk.allowed_tokens.end(), is_set)) {
    return InvalidArgument("allowed_tokens allows no token");
  }
  return OkStatus();
}

Status CheckTokens(const SequenceChunk& chunk, bool has_last_token, const PlanLimits& limits) {
  const auto query_len = static_cast<int64_t>(chunk.token_ids.size());
  if (query_len == 0) return InvalidArgument("the chunk has no tokens");
  if (chunk.positions.size() != chunk.token_ids.size() * 3) {
    return InvalidArgument("positions has ", chunk.positions.size(), " elements; ", query_len,
                           " tokens need ", 3 * query_len);
  }
  LONGHAND_RETURN_IF_ERROR(
      CheckIds("token_ids", chunk.token_ids, kTokenOnDevice, limits.vocab_size));
  if (!has_last_token && Contains(chunk.token_ids, kTokenOnDevice)) {
    return FailedPrecondition("token_ids names the token of an earlier step; none was sampled");
  }
  if (std::ssize(chunk.suppressed_token_ids) > kernels::kMaxSuppressedIds) {
    return InvalidArgument("suppressed_token_ids has ", chunk.suppressed_token_ids.size(),
                           " ids; at most ", kernels::kMaxSuppressedIds, " are allowed");
  }
  LONGHAND_RETURN_IF_ERROR(
      CheckIds("suppressed_token_ids", chunk.suppressed_token_ids, 0, limits.vocab_size));
  LONGHAND_RETURN_IF_ERROR(CheckAllowed(chunk, limits));
  if (!chunk.score_token_ids.empty()) {
    if (chunk.score_token_ids.size() != chunk.token_ids.size()) {
      return InvalidArgument("score_token_ids has ", chunk.score_token_ids.size(),
                             " elements; there are ", query_len, " tokens");
    }
    LONGHAND_RETURN_IF_ERROR(
        CheckIds("score_token_ids", chunk.score_token_ids, -1, limits.vocab_size));
  }
  const int32_t most = chunk.score_token_ids.empty() ? 0 : kMaxTopLogprobs;
  if (chunk.num_score_top < 0 || chunk.num_score_top > most) {
    return InvalidArgument("num_score_top is ", chunk.num_score_top, "; it must be from 0 to ",
                           most);
  }
  return OkStatus();
}

Status CheckBlocks(const SequenceChunk& chunk, int64_t known_blocks, const PlanLimits& limits) {
  if (chunk.first_block_idx < 0 || chunk.first_block_idx > known_blocks) {
    return InvalidArgument("first_block_idx is ", chunk.first_block_idx, "; the block table has ",
                           known_blocks, " blocks");
  }
  for (const int32_t block : chunk.new_block_ids) {
    if (block < 0 || block >= limits.num_blocks) {
      return InvalidArgument("new_block_ids holds ", block, "; blocks are from 0 to ",
                             limits.num_blocks - 1);
    }
  }
  const int64_t blocks = std::max(
      known_blocks, chunk.first_block_idx + static_cast<int64_t>(chunk.new_block_ids.size()));
  const int64_t max_blocks = (limits.max_model_len + limits.block_size - 1) / limits.block_size;
  if (blocks > max_blocks) {
    return InvalidArgument("the block table would have ", blocks, " blocks; at most ", max_blocks,
                           " are allowed");
  }
  const int64_t room = std::min(blocks * limits.block_size, limits.max_model_len);
  const auto query_len = static_cast<int64_t>(chunk.token_ids.size());
  if (chunk.num_computed_tokens < 0 || chunk.num_computed_tokens > room - query_len) {
    return InvalidArgument(chunk.num_computed_tokens, " computed and ", query_len,
                           " new tokens; the sequence has room for ", room);
  }
  return OkStatus();
}

// Keys and values of two tokens must not go to one slot: no block is written by two sequences, or
// stands twice where one sequence writes.
Status CheckWrites(const SequenceChunk& chunk,
                   const SequenceState* state,
                   const PlanLimits& limits,
                   std::unordered_set<int32_t>* written) {
  const int64_t last = chunk.num_computed_tokens + static_cast<int64_t>(chunk.token_ids.size()) - 1;
  for (int64_t i = chunk.num_computed_tokens / limits.block_size; i <= last / limits.block_size;
       ++i) {
    const int64_t new_idx = i - chunk.first_block_idx;
    const bool is_new = new_idx >= 0 && new_idx < static_cast<int64_t>(chunk.new_block_ids.size());
    const int32_t block = is_new ? chunk.new_block_ids[static_cast<size_t>(new_idx)]
                                 : state->block_table[static_cast<size_t>(i)];
    if (!written->insert(block).second) {
      return InvalidArgument("block ", block, " is written twice by the plan");
    }
  }
  return OkStatus();
}

Status CheckImageSpans(const SequenceChunk& chunk, const PlanLimits& limits) {
  int64_t free_from = 0;
  for (const ImageSpan& span : chunk.image_spans) {
    const int64_t end = int64_t{span.offset} + span.num_tokens;
    if (span.offset < free_from || span.num_tokens <= 0 ||
        end > static_cast<int64_t>(chunk.token_ids.size())) {
      return InvalidArgument("image_spans names tokens ", span.offset, " to ", end,
                             "; they must rise within ", chunk.token_ids.size(), " tokens");
    }
    if (span.cache_row < 0 || span.cache_row > limits.encoder_cache_tokens - span.num_tokens) {
      return InvalidArgument("image_spans names ", span.num_tokens, " encoder cache rows from ",
                             span.cache_row, "; the cache has ", limits.encoder_cache_tokens);
    }
    free_from = end;
  }
  return OkStatus();
}

Status CheckSampling(const SequenceChunk& chunk,
                     const SequenceState* state,
                     const PlanLimits& limits) {
  if (!chunk.sample) return OkStatus();
  const SequenceStart* start = chunk.start.empty() ? nullptr : &chunk.start.front();
  const int64_t prompt_len = start ? std::ssize(start->prompt_token_ids) : state->prompt_len;
  if (chunk.output_position < 0 || chunk.output_position > limits.max_model_len - prompt_len) {
    return InvalidArgument("output_position is ", chunk.output_position, "; it must be from 0 to ",
                           limits.max_model_len - prompt_len);
  }
  const SamplingParams& sampling = start ? start->sampling : state->sampling;
  const int64_t output_len = start ? std::ssize(start->output_token_ids) : state->output_len;
  if (sampling.HasPenalties() && chunk.output_position > output_len) {
    return InvalidArgument("output_position is ", chunk.output_position, "; penalties know only ",
                           output_len, " tokens of the answer");
  }
  return OkStatus();
}

Status CheckChunk(const StepPlan& plan,
                  const SequenceChunk& chunk,
                  const PlanContext& context,
                  std::unordered_set<int32_t>* written) {
  const auto it = context.sequences.find(chunk.sequence_id);
  const bool known =
      it != context.sequences.end() && !Contains(plan.released_sequences, chunk.sequence_id);
  const bool starts = !chunk.start.empty();
  if (chunk.start.size() > 1)
    return InvalidArgument("start is given ", chunk.start.size(), " times");
  if (!starts && !known) return FailedPrecondition("the sequence is unknown, and does not start");
  const SequenceState* state = known ? &it->second : nullptr;
  if (starts) LONGHAND_RETURN_IF_ERROR(CheckStart(chunk.start.front(), context));
  const bool has_last_token = !starts && state->last_output_position.has_value();
  LONGHAND_RETURN_IF_ERROR(CheckTokens(chunk, has_last_token, context.limits));
  const int64_t known_blocks = starts ? 0 : static_cast<int64_t>(state->block_table.size());
  LONGHAND_RETURN_IF_ERROR(CheckBlocks(chunk, known_blocks, context.limits));
  LONGHAND_RETURN_IF_ERROR(CheckWrites(chunk, state, context.limits, written));
  LONGHAND_RETURN_IF_ERROR(CheckImageSpans(chunk, context.limits));
  return CheckSampling(chunk, state, context.limits);
}

Status CheckImage(const EncodeImageItem& item,
                  const PlanContext& context,
                  std::vector<ImageInHand>* in_hand) {
  const PlanLimits& limits = context.limits;
  if (context.encoder == nullptr) return FailedPrecondition("there is no room for images");
  if (item.rank < 0 || item.rank >= limits.tp_size) {
    return InvalidArgument("rank is ", item.rank, "; there are ", limits.tp_size);
  }
  if (item.layer_begin < 0 || item.layer_begin >= item.layer_end ||
      item.layer_end > limits.vision_depth) {
    return InvalidArgument("blocks ", item.layer_begin, " to ", item.layer_end,
                           "; they must rise within ", limits.vision_depth);
  }
  const ImageStore::Image* image = context.images.Find(item.image);
  if (image == nullptr) return FailedPrecondition("its pixels were not sent");
  LONGHAND_RETURN_IF_ERROR(CheckAdapter(item.adapter, context));
  ImageInHand& hand = (*in_hand)[static_cast<size_t>(item.rank)];
  if (item.layer_begin > 0 && (hand.next_layer != item.layer_begin || hand.image != item.image ||
                               hand.adapter != item.adapter)) {
    return FailedPrecondition("block ", item.layer_begin, " on rank ", item.rank,
                              ", which has not just run the blocks of this image before it");
  }
  hand = {item.image, item.layer_end == limits.vision_depth ? 0 : item.layer_end, item.adapter};
  if (item.layer_end < limits.vision_depth) return OkStatus();
  const int64_t rows = context.encoder->NumTokens(image->height, image->width);
  if (item.cache_row < 0 || item.cache_row > limits.encoder_cache_tokens - rows) {
    return InvalidArgument(rows, " embeddings from row ", item.cache_row, " of ",
                           limits.encoder_cache_tokens, " in the encoder cache");
  }
  return OkStatus();
}

Status CheckImages(const StepPlan& plan, const PlanContext& context) {
  std::vector<ImageInHand> in_hand = context.in_hand;
  for (const EncodeImageItem& item : plan.images) {
    const Status status = Contains(plan.released_images, item.image)
                              ? FailedPrecondition("it is released by the same plan")
                              : CheckImage(item, context, &in_hand);
    LONGHAND_RETURN_IF_ERROR(status.WithContext("image " + HashPrefix(item.image)));
  }
  return OkStatus();
}

// Those that are known, and those that start. Releases come first.
Status CheckNumSequences(const StepPlan& plan, const PlanContext& context) {
  std::unordered_set<int64_t> ids;
  for (const auto& [id, state] : context.sequences) ids.insert(id);
  for (const int64_t id : plan.released_sequences) ids.erase(id);
  for (const SequenceChunk& chunk : plan.chunks) ids.insert(chunk.sequence_id);
  const int64_t count = std::ssize(ids);
  if (count <= context.limits.max_num_seqs) return OkStatus();
  return InvalidArgument("there would be ", count, " sequences; at most ",
                         context.limits.max_num_seqs, " are allowed at once");
}

}  // namespace

Status CheckPlan(const StepPlan& plan, const PlanContext& context) {
  const PlanLimits& limits = context.limits;
  if (plan.num_tokens() > limits.max_num_batched_tokens) {
    return InvalidArgument("the plan has ", plan.num_tokens(), " tokens; at most ",
                           limits.max_num_batched_tokens, " are allowed");
  }
  if (static_cast<int64_t>(plan.chunks.size()) > limits.max_num_seqs) {
    return InvalidArgument("the plan has ", plan.chunks.size(), " sequences; at most ",
                           limits.max_num_seqs, " are allowed");
  }
  LONGHAND_RETURN_IF_ERROR(CheckBlockCopies(plan, limits));
  LONGHAND_RETURN_IF_ERROR(CheckImages(plan, context));
  LONGHAND_RETURN_IF_ERROR(CheckNumSequences(plan, context));
  std::unordered_set<int64_t> seen;
  std::unordered_set<int32_t> written;
  for (const SequenceChunk& chunk : plan.chunks) {
    const Status status = seen.insert(chunk.sequence_id).second
                              ? CheckChunk(plan, chunk, context, &written)
                              : InvalidArgument("the plan has two chunks of it");
    LONGHAND_RETURN_IF_ERROR(status.WithContext("sequence " + std::to_string(chunk.sequence_id)));
  }
  return OkStatus();
}

}  // namespace longhand::runner
