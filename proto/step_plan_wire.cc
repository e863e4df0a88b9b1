#include "proto/step_plan_wire.h"

#include <algorithm>

namespace longhand {
namespace {

namespace wire = worker::v1;

template <typename T, typename Field>
std::vector<T> ToVector(const Field& field) {
  return std::vector<T>(field.begin(), field.end());
}

void SetSampling(const SamplingParams& from, wire::SamplingParams* to) {
  to->set_temperature(from.temperature);
  to->set_top_p(from.top_p);
  to->set_top_k(from.top_k);
  to->set_min_p(from.min_p);
  to->set_repetition_penalty(from.repetition_penalty);
  to->set_presence_penalty(from.presence_penalty);
  to->set_frequency_penalty(from.frequency_penalty);
  to->set_seed(from.seed);
  to->set_choice(from.choice);
  to->set_num_logprobs(from.num_logprobs);
}

SamplingParams GetSampling(const wire::SamplingParams& from) {
  return {.temperature = from.temperature(),
          .top_p = from.top_p(),
          .top_k = from.top_k(),
          .min_p = from.min_p(),
          .repetition_penalty = from.repetition_penalty(),
          .presence_penalty = from.presence_penalty(),
          .frequency_penalty = from.frequency_penalty(),
          .seed = from.seed(),
          .choice = from.choice(),
          .num_logprobs = from.num_logprobs()};
}

void SetChunk(const SequenceChunk& from, wire::SequenceChunk* to) {
  to->set_sequence_id(from.sequence_id);
  to->mutable_token_ids()->Add(from.token_ids.begin(), from.token_ids.end());
  to->mutable_positions()->Add(from.positions.begin(), from.positions.end());
  to->set_num_computed_tokens(from.num_computed_tokens);
  to->set_first_block_idx(from.first_block_idx);
  to->mutable_new_block_ids()->Add(from.new_block_ids.begin(), from.new_block_ids.end());
  for (const ImageSpan& span : from.image_spans) {
    wire::ImageSpan* out = to->add_image_spans();
    out->set_offset(span.offset);
    out->set_num_tokens(span.num_tokens);
    out->set_cache_row(span.cache_row);
  }
  for (const SequenceStart& start : from.start) {
    SetSampling(start.sampling, to->mutable_start()->mutable_sampling());
    to->mutable_start()->mutable_prompt_token_ids()->Add(start.prompt_token_ids.begin(),
                                                         start.prompt_token_ids.end());
    to->mutable_start()->mutable_output_token_ids()->Add(start.output_token_ids.begin(),
                                                         start.output_token_ids.end());
    to->mutable_start()->set_adapter(start.adapter + 1);
    for (const TokenBias& bias : start.biases) {
      wire::TokenBias* out = to->mutable_start()->add_biases();
      out->set_token_id(bias.token_id);
      out->set_bias(bias.bias);
    }
  }
  to->set_sample(from.sample);
  to->set_output_position(from.output_position);
  to->mutable_score_token_ids()->Add(from.score_token_ids.begin(), from.score_token_ids.end());
  to->set_num_score_top(from.num_score_top);
  to->mutable_suppressed_token_ids()->Add(from.suppressed_token_ids.begin(),
                                          from.suppressed_token_ids.end());
  to->mutable_allowed_tokens()->Add(from.allowed_tokens.begin(), from.allowed_tokens.end());
}

SequenceChunk GetChunk(const wire::SequenceChunk& from) {
  SequenceChunk to{.sequence_id = from.sequence_id(),
                   .token_ids = ToVector<int32_t>(from.token_ids()),
                   .positions = ToVector<int32_t>(from.positions()),
                   .num_computed_tokens = from.num_computed_tokens(),
                   .first_block_idx = from.first_block_idx(),
                   .new_block_ids = ToVector<int32_t>(from.new_block_ids()),
                   .sample = from.sample(),
                   .output_position = from.output_position(),
                   .suppressed_token_ids = ToVector<int32_t>(from.suppressed_token_ids()),
                   .allowed_tokens = ToVector<uint32_t>(from.allowed_tokens()),
                   .score_token_ids = ToVector<int32_t>(from.score_token_ids()),
                   .num_score_top = from.num_score_top()};
  for (const wire::ImageSpan& span : from.image_spans()) {
    to.image_spans.push_back({span.offset(), span.num_tokens(), span.cache_row()});
  }
  if (from.has_start()) {
    to.start.push_back({GetSampling(from.start().sampling()),
                        ToVector<int32_t>(from.start().prompt_token_ids()),
                        ToVector<int32_t>(from.start().output_token_ids()),
                        from.start().adapter() - 1,
                        {}});
    for (const wire::TokenBias& bias : from.start().biases()) {
      to.start.back().biases.push_back({bias.token_id(), bias.bias()});
    }
  }
  return to;
}

void SetSequenceResult(const SequenceResult& from, wire::SequenceResult* to) {
  to->set_sequence_id(from.sequence_id);
  for (const SampledToken& token : from.tokens) {
    wire::SampledToken* out = to->add_tokens();
    out->set_token_id(token.token_id);
    out->set_logprob(token.logprob);
    for (const TokenLogprob& top : token.top) {
      wire::TokenLogprob* out_top = out->add_top();
      out_top->set_token_id(top.token_id);
      out_top->set_logprob(top.logprob);
    }
  }
  to->mutable_score_logprobs()->Add(from.score_logprobs.begin(), from.score_logprobs.end());
  for (const TokenLogprob& top : from.score_top) {
    to->add_score_top_ids(top.token_id);
    to->add_score_top_logprobs(top.logprob);
  }
}

using WireBlockCopies = google::protobuf::RepeatedPtrField<wire::BlockCopy>;

void SetBlockCopies(const std::vector<BlockCopy>& from, WireBlockCopies* to) {
  for (const BlockCopy& copy : from) {
    wire::BlockCopy* out = to->Add();
    out->set_from(copy.from);
    out->set_to(copy.to);
  }
}

std::vector<BlockCopy> GetBlockCopies(const WireBlockCopies& from) {
  std::vector<BlockCopy> to;
  to.reserve(static_cast<size_t>(from.size()));
  for (const wire::BlockCopy& copy : from) to.push_back({copy.from(), copy.to()});
  return to;
}

SequenceResult GetSequenceResult(const wire::SequenceResult& from) {
  SequenceResult to{.sequence_id = from.sequence_id(),
                    .score_logprobs = ToVector<float>(from.score_logprobs())};
  for (const wire::SampledToken& token : from.tokens()) {
    SampledToken& out = to.tokens.emplace_back();
    out.token_id = token.token_id();
    out.logprob = token.logprob();
    for (const wire::TokenLogprob& top : token.top()) {
      out.top.push_back({top.token_id(), top.logprob()});
    }
  }
  // Where the two do not agree, the engine finds too few.
  const int num_top = std::min(from.score_top_ids_size(), from.score_top_logprobs_size());
  to.score_top.reserve(static_cast<size_t>(num_top));
  for (int i = 0; i < num_top; ++i) {
    to.score_top.push_back({from.score_top_ids(i), from.score_top_logprobs(i)});
  }
  return to;
}

}  // namespace

std::string ToWire(const ContentHash& hash) { return std::string(hash.begin(), hash.end()); }

Result<ContentHash> ContentHashFromWire(const std::string& bytes) {
  ContentHash hash;
  if (bytes.size() != hash.size()) {
    return InvalidArgument("a content hash has ", bytes.size(), " bytes; it must have ",
                           hash.size());
  }
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

void ToWire(const StepPlan& plan, wire::ExecuteStepRequest* to) {
  to->set_epoch(plan.epoch);
  to->set_step(plan.step);
  to->mutable_released_sequences()->Add(plan.released_sequences.begin(),
                                        plan.released_sequences.end());
  for (const ContentHash& image : plan.released_images) to->add_released_images(ToWire(image));
  for (const EncodeImageItem& item : plan.images) {
    wire::EncodeImageItem* out = to->add_images();
    out->set_image(ToWire(item.image));
    out->set_rank(item.rank);
    out->set_layer_begin(item.layer_begin);
    out->set_layer_end(item.layer_end);
    out->set_cache_row(item.cache_row);
    out->set_adapter(item.adapter + 1);
  }
  for (const SequenceChunk& chunk : plan.chunks) SetChunk(chunk, to->add_chunks());
  SetBlockCopies(plan.swaps_out, to->mutable_swaps_out());
  SetBlockCopies(plan.swaps_in, to->mutable_swaps_in());
  SetBlockCopies(plan.block_copies, to->mutable_block_copies());
}

Result<StepPlan> FromWire(const wire::ExecuteStepRequest& from) {
  StepPlan plan{.epoch = from.epoch(),
                .step = from.step(),
                .released_sequences = ToVector<int64_t>(from.released_sequences()),
                .swaps_out = GetBlockCopies(from.swaps_out()),
                .swaps_in = GetBlockCopies(from.swaps_in()),
                .block_copies = GetBlockCopies(from.block_copies())};
  for (const std::string& bytes : from.released_images()) {
    LONGHAND_ASSIGN_OR_RETURN(ContentHash image, ContentHashFromWire(bytes));
    plan.released_images.push_back(image);
  }
  for (const wire::EncodeImageItem& item : from.images()) {
    LONGHAND_ASSIGN_OR_RETURN(ContentHash image, ContentHashFromWire(item.image()));
    plan.images.push_back({image, item.rank(), item.layer_begin(), item.layer_end(),
                           item.cache_row(), item.adapter() - 1});
  }
  for (const wire::SequenceChunk& chunk : from.chunks()) plan.chunks.push_back(GetChunk(chunk));
  return plan;
}

void ToWire(const StepResult& result, wire::ExecuteStepResponse* to) {
  to->set_epoch(result.epoch);
  to->set_step(result.step);
  to->set_rank(result.rank);
  to->set_status_code(static_cast<int32_t>(result.status.code()));
  to->set_status_message(result.status.message());
  to->set_execute_us(result.execute_us);
  to->set_communicate_us(result.communicate_us);
  for (const SequenceResult& sequence : result.sequences) {
    SetSequenceResult(sequence, to->add_sequences());
  }
}

StepResult FromWire(const wire::ExecuteStepResponse& from) {
  StepResult result{
      .epoch = from.epoch(),
      .step = from.step(),
      .rank = from.rank(),
      .status = Status(static_cast<StatusCode>(from.status_code()), from.status_message()),
      .execute_us = from.execute_us(),
      .communicate_us = from.communicate_us()};
  for (const wire::SequenceResult& sequence : from.sequences()) {
    result.sequences.push_back(GetSequenceResult(sequence));
  }
  return result;
}

}  // namespace longhand
