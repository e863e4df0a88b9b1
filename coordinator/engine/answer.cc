#include "coordinator/engine/answer.h"

#include <algorithm>
#include <utility>

#include "coordinator/engine/allowed_tokens.h"

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
               std::unique_ptr<TextState> text,
               std::unique_ptr<TokenConstraint> constraint)
    : request_(request),
      config_(config),
      choice_(choice),
      text_(std::move(text)),
      constraint_(std::move(constraint)) {
  if (request.repetition_guard) guard_.emplace();
  rules_ = {RulesFor(0), RulesFor(1)};
}

TokenEvent Answer::Append(SampledToken token) {
  ++num_tokens_;
  TokenEvent event;
  event.choice = choice_;
  event.token_ids.push_back(token.token_id);
  if (IsEndOfSequence(token.token_id) || IsStopToken(token.token_id)) {
    event.text = text_->Finish();
    Finish(FinishReason::kStop, IsEndOfSequence(token.token_id) ? "eos" : "stop_token", &event);
  } else {
    TakeToken(token.token_id, &event);
  }
  if (event.finish_reason && request_.target_words > 0)
    event.length = LengthReport{request_.target_words, num_words()};
  if (request_.sampling.num_logprobs >= 0) event.logprobs.push_back(std::move(token));
  return event;
}

void Answer::TakeToken(int32_t token_id, TokenEvent* event) {
  TextState::Delta delta = text_->Append(token_id);
  event->text = std::move(delta.text);
  if (guard_.has_value()) guard_->Append(token_id);
  rules_ = {std::move(rules_[1]), RulesFor(num_tokens_ + 1)};
  if (delta.target_reached) return Finish(FinishReason::kStop, "target_reached", event);
  if (delta.stop_string.has_value()) return Finish(FinishReason::kStop, "stop_string", event);
  if (FollowConstraint(token_id)) {
    event->text += text_->Finish();
    return Finish(FinishReason::kStop, "grammar_complete", event);
  }
  const bool is_longest = num_tokens_ == request_.max_tokens;
  const bool is_stuck = guard_.has_value() && guard_->is_stuck();
  if (!is_longest && !is_stuck) return;
  event->text += text_->Finish();
  if (!is_longest) return Finish(FinishReason::kLength, "repetition", event);
  Finish(FinishReason::kLength, "max_tokens", event);
}

TokenEvent Answer::End() {
  TokenEvent event;
  event.choice = choice_;
  Finish(FinishReason::kLength, "max_tokens", &event);
  return event;
}

// Whether the token was the last that the constraint has.
bool Answer::FollowConstraint(int32_t token_id) {
  if (constraint_ == nullptr || !status_.ok()) return false;
  status_ = constraint_->Append(token_id);
  return status_.ok() && constraint_->must_end();
}

Result<std::vector<uint32_t>> Answer::FindAllowedTokens() {
  if (!status_.ok()) return status_;
  LONGHAND_ASSIGN_OR_RETURN(TokenConstraint::Next next, constraint_->FindNext());
  std::vector<uint32_t> mask =
      AllowedTokens(std::move(next), rules_[0], StopTokensOf(request_, config_));
  if (AllowsNone(mask)) {
    return InvalidArgument("after ", num_tokens_,
                           " tokens the form that the answer is held to allows no other");
  }
  return mask;
}

// From all tokens so far.
TokenRules Answer::RulesFor(int64_t position) const {
  TokenRules rules{.may_end = position >= request_.min_tokens && !text_->is_short()};
  if (!guard_.has_value()) return rules;
  if (const std::optional<int32_t> token_id = guard_->Continuation())
    rules.banned_ids.push_back(*token_id);
  return rules;
}

bool Answer::IsEndOfSequence(int32_t token_id) const {
  return !request_.ignore_eos && Contains(config_.eos_token_ids, token_id);
}

bool Answer::IsStopToken(int32_t token_id) const {
  return Contains(request_.stop_token_ids, token_id);
}

std::vector<int32_t> StopTokensOf(const Request& request, const EngineConfig& config) {
  std::vector<int32_t> token_ids = request.stop_token_ids;
  if (request.ignore_eos) return token_ids;
  for (const int32_t token_id : config.eos_token_ids) {
    if (!Contains(token_ids, token_id)) token_ids.push_back(token_id);
  }
  return token_ids;
}

}  // namespace longhand::engine
