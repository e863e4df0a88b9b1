// Answer: what the sampled tokens of one sequence have become, and when it is over. A function of
// the tokens appended and of nothing else, so that timing never changes a text. Engine thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/step_plan.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/repetition_guard.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/text_state.h"
#include "coordinator/engine/token_constraint.h"
#include "coordinator/engine/token_rules.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

class Answer {
 public:
  // `request` and `config` outlive the answer.
  Answer(const Request& request,
         uint32_t choice,
         const EngineConfig& config,
         std::unique_ptr<TextState> text,
         std::unique_ptr<TokenConstraint> constraint = nullptr);

  // The event of the next token; its finish_reason is set when the answer ends with it, and no
  // token may follow. A stop token is part of token_ids but not of the text; a stop string is cut
  // from the text, and so is what follows the words that were asked for.
  TokenEvent Append(SampledToken token);
  // The event of an answer that is to have no tokens.
  TokenEvent End();
  // For the tokens to come.
  const ComingRules& rules() const { return rules_; }
  // Where the answer is held to a form: the mask of the next token, with the rules in it. Never
  // nothing; kInvalidArgument when the form leads nowhere, or costs too much to follow.
  Result<std::vector<uint32_t>> FindAllowedTokens();

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_words() const { return text_->num_words(); }
  // That the guard met.
  int64_t num_loops() const { return guard_.has_value() ? guard_->num_loops() : 0; }

 private:
  bool IsEndOfSequence(int32_t token_id) const;
  bool IsStopToken(int32_t token_id) const;
  void TakeToken(int32_t token_id, TokenEvent* event);
  TokenRules RulesFor(int64_t position) const;
  bool FollowConstraint(int32_t token_id);

  const Request& request_;
  const EngineConfig& config_;
  const uint32_t choice_;
  std::unique_ptr<TextState> text_;
  std::unique_ptr<TokenConstraint> constraint_;  // null: none
  std::optional<RepetitionGuard> guard_;
  int64_t num_tokens_ = 0;
  ComingRules rules_;
  Status status_;  // why its form could not be followed
};

// The tokens that end an answer: the request's, and the end-of-sequence ids unless it ignores them.
std::vector<int32_t> StopTokensOf(const Request& request, const EngineConfig& config);

}  // namespace longhand::engine
