#include "coordinator/engine/answer.h"

#include <algorithm>
#include <utility>

namespace longhand::engine {
namespace {

bool Contains(const std::vector<int32_t>& token_ids, int32_t token_id) {
  return std::find(token_ids.begin(), token_ids.end(), token_id) != token_ids.end();
}

void Finish(FinishReason reason, const char* detail, TokenEvent* event) {
  event->finish_reason = reason;
  event->finish_detail = detail;
}

}  // namespace

Answer::Answer(const Request& request,
               uint32_t choice,
               const EngineConfig& config,
               std::unique_ptr<TextState> text)
    : request_(request), config_(config), choice_(choice), text_(std::move(text)) {}

TokenEvent Answer::Append(SampledToken token) {
  ++num_tokens_;
  TokenEvent event;
  event.choice = choice_;
  event.token_ids.push_back(token.token_id);
  if (IsEndOfSequence(token.token_id) || IsStopToken(token.token_id)) {
    event.text = text_->Finish();
    Finish(FinishReason::kStop, IsEndOfSequence(token.token_id) ? "eos" : "stop_token", &event);
  } else {
    TextState::Delta delta = text_->Append(token.token_id);
    event.text = std::move(delta.text);
    if (delta.stop_string.has_value()) {
      Finish(FinishReason::kStop, "stop_string", &event);
    } else if (num_tokens_ == request_.max_tokens) {
      event.text += text_->Finish();
      const bool is_full = request_.num_prompt_tokens() + num_tokens_ == config_.max_model_len;
      Finish(FinishReason::kLength, is_full ? "context_full" : "max_tokens", &event);
    }
  }
  if (request_.sampling.num_logprobs >= 0) event.logprobs.push_back(std::move(token));
  return event;
}

bool Answer::IsEndOfSequence(int32_t token_id) const {
  return !request_.ignore_eos && Contains(config_.eos_token_ids, token_id);
}

bool Answer::IsStopToken(int32_t token_id) const {
  return Contains(request_.sampling.stop_token_ids, token_id);
}

SamplingParams SamplingOf(const Request& request, uint32_t choice, const EngineConfig& config) {
  SamplingParams sampling = request.sampling;
  sampling.choice = choice;
  if (request.ignore_eos) return sampling;
  for (const int32_t token_id : config.eos_token_ids) {
    if (!Contains(sampling.stop_token_ids, token_id)) sampling.stop_token_ids.push_back(token_id);
  }
  return sampling;
}

}  // namespace longhand::engine
