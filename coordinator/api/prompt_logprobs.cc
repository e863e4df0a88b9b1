#include "coordinator/api/prompt_logprobs.h"

#include "common/step_plan.h"

namespace longhand::api {

Status SetPromptLogprobs(const v1::Return& wanted, engine::Request* request) {
  const int32_t num_top = wanted.top_prompt_logprobs();
  if (num_top < 0 || num_top > kMaxTopLogprobs) {
    return InvalidField("top_prompt_logprobs", " is ", num_top, "; it must be from 0 to ",
                        kMaxTopLogprobs);
  }
  if (num_top > 0 && !wanted.prompt_logprobs()) {
    return InvalidField("top_prompt_logprobs", " is ", num_top,
                        "; it is for requests with prompt_logprobs");
  }
  request->prompt_logprobs = wanted.prompt_logprobs();
  request->num_top_prompt_logprobs = num_top;
  return CheckNumPromptLogprobs(NumPromptLogprobs(*request));
}

int64_t NumPromptLogprobs(const engine::Request& request) {
  if (!request.prompt_logprobs) return 0;
  return request.num_prompt_tokens() * (1 + request.num_top_prompt_logprobs) * request.num_choices;
}

Status CheckNumPromptLogprobs(int64_t count) {
  if (count <= kMaxPromptLogprobs) return OkStatus();
  return InvalidArgument("the request asks for ", count,
                         " log-probabilities of prompt tokens (tokens * (1 + alternatives) * n); "
                         "at most ",
                         kMaxPromptLogprobs, " are allowed")
      .About("prompt_logprobs");
}

}  // namespace longhand::api
