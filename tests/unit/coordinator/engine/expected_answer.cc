#include "tests/unit/coordinator/engine/expected_answer.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "coordinator/engine/allowed_tokens.h"
#include "tests/unit/coordinator/engine/fake_constraint.h"
#include "tests/unit/coordinator/engine/fake_model.h"
#include "tests/unit/coordinator/engine/fake_text.h"

namespace longhand::engine {
namespace {

std::vector<uint64_t> PromptEmbeddings(const Request& request) {
  std::vector<uint64_t> embeddings;
  for (const int32_t token_id : request.token_ids) embeddings.push_back(TokenEmbedding(token_id));
  for (const ImageInput& image : request.images) {
    for (int32_t row = 0; row < image.num_tokens; ++row) {
      embeddings[image.offset + row] = ImageEmbedding(image.hash, row);
    }
  }
  return embeddings;
}

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

AnswerText ExpectedAnswer(const Request& request, uint32_t choice, const EngineConfig& config) {
  AnswerText answer;
  const bool scored = request.prompt_logprobs && choice == 0;
  uint64_t context = 0;
  const std::vector<uint64_t> embeddings = PromptEmbeddings(request);
  for (size_t i = 0; i < embeddings.size(); ++i) {
    context = Mix(context, SlotValue(context, embeddings[i], &request.positions[3 * i]));
    if (scored && i + 1 < embeddings.size()) {
      answer.prompt_logprobs.push_back(ScoreToken(context, request.token_ids[i + 1]));
      for (int32_t top = 0; top < request.num_top_prompt_logprobs; ++top)
        answer.prompt_top.push_back(ScoreToken(context, top));
    }
  }
  if (request.max_tokens == 0) {
    const bool is_full = request.num_prompt_tokens() == config.max_model_len;
    answer.finish_detail = is_full ? "context_full" : "max_tokens";
    return answer;
  }
  SamplingParams sampling = request.sampling;
  sampling.choice = choice;
  const std::vector<int32_t> eos =
      request.ignore_eos ? std::vector<int32_t>() : config.eos_token_ids;
  std::vector<int32_t> stops = request.stop_token_ids;
  stops.insert(stops.end(), eos.begin(), eos.end());
  FakeText text(request.stop_strings, request.target_words);
  const std::unique_ptr<TokenConstraint> constraint =
      request.constraint != nullptr ? request.constraint->Create() : nullptr;
  std::vector<bool> was_short = {text.is_short()};  // after so many tokens
  while (true) {
    const auto num_before = static_cast<int64_t>(answer.token_ids.size());
    // The latest token is never looked at.
    const bool is_short = was_short[static_cast<size_t>(std::max<int64_t>(num_before - 1, 0))];
    const bool may_end = num_before >= request.min_tokens && !is_short;
    std::vector<int32_t> suppressed = may_end ? std::vector<int32_t>() : stops;
    if (constraint != nullptr) {
      suppressed =
          Forbidden(AllowedTokens(constraint->FindNext().value(), {.may_end = may_end}, stops));
    }
    const int32_t token_id =
        SampleToken(context, sampling, request.biases, num_before, suppressed).token_id;
    answer.token_ids.push_back(token_id);
    if (Contains(stops, token_id)) {
      answer.text += text.Finish();
      answer.finish_detail = Contains(eos, token_id) ? "eos" : "stop_token";
      return answer;
    }
    const TextState::Delta delta = text.Append(token_id);
    answer.text += delta.text;
    was_short.push_back(text.is_short());
    if (delta.target_reached) {
      answer.finish_detail = "target_reached";
      return answer;
    }
    const auto num_output = static_cast<int64_t>(answer.token_ids.size());
    if (delta.stop_string.has_value()) {
      answer.finish_detail = "stop_string";
      return answer;
    }
    if (constraint != nullptr) {
      LONGHAND_CHECK(constraint->Append(token_id).ok());
      if (constraint->must_end()) {
        answer.text += text.Finish();
        answer.finish_detail = "grammar_complete";
        return answer;
      }
    }
    if (num_output == request.max_tokens) {
      answer.text += text.Finish();
      const bool is_full = request.num_prompt_tokens() + num_output == config.max_model_len;
      answer.finish_detail = is_full ? "context_full" : "max_tokens";
      return answer;
    }
    const int32_t position =
        static_cast<int32_t>(request.num_prompt_tokens() + num_output - 1) + request.rope_delta;
    const int32_t positions[3] = {position, position, position};
    context = Mix(context, SlotValue(context, TokenEmbedding(token_id), positions));
  }
}

}  // namespace longhand::engine
