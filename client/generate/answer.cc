#include "client/generate/answer.h"

#include <boost/json.hpp>

namespace longhand::client {
namespace {

namespace json = boost::json;

json::array ToJsonArray(const std::vector<int32_t>& ids) {
  return json::array(ids.begin(), ids.end());
}

json::array ToJsonArray(const std::vector<v1::Logprob>& logprobs) {
  json::array out;
  for (const v1::Logprob& logprob : logprobs) {
    json::array top;
    for (const v1::TopLogprob& entry : logprob.top()) {
      top.push_back(json::object{{"token_id", entry.token_id()}, {"logprob", entry.logprob()}});
    }
    out.push_back(json::object{
        {"token_id", logprob.token_id()}, {"logprob", logprob.logprob()}, {"top", top}});
  }
  return out;
}

json::object ToJsonObject(const Choice& choice) {
  json::object out{{"text", choice.text},
                   {"token_ids", ToJsonArray(choice.token_ids)},
                   {"finish_reason", choice.finish_reason},
                   {"finish_detail", choice.finish_detail}};
  if (choice.length) {
    out["length"] = {{"target_words", choice.length->target_words()},
                     {"words", choice.length->words()},
                     {"score", choice.length->score()}};
  }
  if (!choice.logprobs.empty()) out["logprobs"] = ToJsonArray(choice.logprobs);
  return out;
}

}  // namespace

void Answer::Add(const v1::GenerateEvent& event) {
  if (!event.request_id().empty()) request_id = event.request_id();
  if (event.prompt_token_ids_size() > 0) {
    prompt_token_ids.assign(event.prompt_token_ids().begin(), event.prompt_token_ids().end());
  }
  prompt_logprobs.insert(prompt_logprobs.end(), event.prompt_logprobs().begin(),
                         event.prompt_logprobs().end());
  if (event.choice() >= choices.size()) choices.resize(event.choice() + 1);
  Choice& choice = choices[event.choice()];
  choice.text += event.text();
  choice.token_ids.insert(choice.token_ids.end(), event.token_ids().begin(),
                          event.token_ids().end());
  choice.logprobs.insert(choice.logprobs.end(), event.logprobs().begin(), event.logprobs().end());
  if (event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
    choice.finish_reason = event.finish_reason() == v1::FINISH_REASON_STOP ? "stop" : "length";
    choice.finish_detail = event.finish_detail();
    if (event.has_length()) choice.length = event.length();
  }
  if (event.has_usage()) usage = event.usage();
}

std::string Answer::ToJson() const {
  json::object out = choices.empty() ? json::object() : ToJsonObject(choices[0]);
  out["request_id"] = request_id;
  out["prompt_token_ids"] = ToJsonArray(prompt_token_ids);
  if (!prompt_logprobs.empty()) out["prompt_logprobs"] = ToJsonArray(prompt_logprobs);
  out["usage"] = json::object{
      {"prompt_tokens", usage.prompt_tokens()},
      {"completion_tokens", usage.completion_tokens()},
      {"total_tokens", usage.total_tokens()},
      {"prompt_tokens_details", json::object{{"cached_tokens", usage.cached_tokens()}}}};
  if (choices.size() > 1) {
    json::array all;
    for (const Choice& choice : choices) all.push_back(ToJsonObject(choice));
    out["choices"] = all;
  }
  return json::serialize(out);
}

}  // namespace longhand::client
