#include "coordinator/api/event_wire.h"

#include <string>

#include "common/length_score.h"

namespace longhand::api {
namespace {

v1::FinishReason ToWire(engine::FinishReason reason) {
  return reason == engine::FinishReason::kStop ? v1::FINISH_REASON_STOP : v1::FINISH_REASON_LENGTH;
}

void SetUsage(const engine::Usage& from, v1::Usage* to) {
  to->set_prompt_tokens(from.prompt_tokens);
  to->set_completion_tokens(from.completion_tokens);
  to->set_total_tokens(from.prompt_tokens + from.completion_tokens);
  to->set_cached_tokens(from.cached_tokens);
}

void SetLength(const engine::LengthReport& from, v1::LengthReport* to) {
  to->set_target_words(from.target_words);
  to->set_words(from.words);
  to->set_score(LengthScore(from.words, from.target_words));
}

void SetLogprob(const SampledToken& from, v1::Logprob* to) {
  to->set_token_id(from.token_id);
  to->set_logprob(from.logprob);
  for (const TokenLogprob& top : from.top) {
    v1::TopLogprob* out = to->add_top();
    out->set_token_id(top.token_id);
    out->set_logprob(top.logprob);
  }
}

}  // namespace

v1::GenerateEvent ToWire(const engine::TokenEvent& event, const EventContext& context) {
  v1::GenerateEvent wire;
  wire.set_seq(event.seq);
  wire.set_choice(event.choice);
  wire.set_text(event.text);
  wire.mutable_token_ids()->Add(event.token_ids.begin(), event.token_ids.end());
  for (const SampledToken& token : event.logprobs) SetLogprob(token, wire.add_logprobs());
  if (event.finish_reason) wire.set_finish_reason(ToWire(*event.finish_reason));
  wire.set_finish_detail(event.finish_detail);
  if (event.length) SetLength(*event.length, wire.mutable_length());
  if (event.usage) SetUsage(*event.usage, wire.mutable_usage());
  for (const SampledToken& token : event.prompt_logprobs)
    SetLogprob(token, wire.add_prompt_logprobs());
  if (event.seq == 1) {
    wire.set_request_id(context.request_id);
    if (context.wanted.prompt_token_ids()) {
      wire.mutable_prompt_token_ids()->Add(context.prompt_token_ids.begin(),
                                           context.prompt_token_ids.end());
    }
  }
  return wire;
}

v1::GenerateEvent VisibleOf(v1::GenerateEvent whole, const v1::Return& wanted) {
  if (!wanted.token_ids()) whole.clear_token_ids();
  return whole;
}

Result<engine::Delivered> DeliveredOf(const std::vector<v1::GenerateEvent>& whole,
                                      uint32_t num_choices) {
  engine::Delivered delivered{.token_ids = std::vector<std::vector<int32_t>>(num_choices),
                              .has_ended = std::vector<bool>(num_choices)};
  for (const v1::GenerateEvent& event : whole) {
    if (event.seq() != delivered.last_event_seq + 1 || event.choice() >= num_choices) {
      return Status(StatusCode::kDataLoss,
                    "event " + std::to_string(event.seq()) + " of answer " +
                        std::to_string(event.choice()) + " comes after event " +
                        std::to_string(delivered.last_event_seq) + "; there are " +
                        std::to_string(num_choices) + " answers");
    }
    delivered.last_event_seq = event.seq();
    std::vector<int32_t>& token_ids = delivered.token_ids[event.choice()];
    token_ids.insert(token_ids.end(), event.token_ids().begin(), event.token_ids().end());
    delivered.num_prompt_logprobs += event.prompt_logprobs_size();
    if (event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED)
      delivered.has_ended[event.choice()] = true;
  }
  return delivered;
}

}  // namespace longhand::api
