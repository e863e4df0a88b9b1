#include "coordinator/http/answer_json.h"

#include <algorithm>
#include <map>
#include <utility>

#include "coordinator/http/prompt_echo.h"
#include "coordinator/input/detokenizer.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

std::string TokenText(const shim::Tokenizer& tokenizer, int32_t id) {
  return input::Detokenize(tokenizer, std::vector<int32_t>{id}, input::SpecialTokens::kKeep);
}

template <typename Logprob>
json::object TokenLogprobJson(const shim::Tokenizer& tokenizer, const Logprob& logprob) {
  json::array bytes;
  for (const char c : tokenizer.TokenBytes(logprob.token_id()))
    bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", TokenText(tokenizer, logprob.token_id())},
          {"logprob", logprob.logprob()},
          {"bytes", std::move(bytes)}};
}

// One of the n answers, as it comes together.
struct ChoiceParts {
  std::string text;
  json::array token_ids;
  json::array chat_logprobs;
  TextLogprobs text_logprobs;
  bool has_logprobs = false;
  int64_t num_characters = 0;
  json::value finish_reason;
  json::object longhand;
};

// What the answers to a prompt show of it.
struct PromptParts {
  PromptEcho::Part echo;
  int64_t num_characters = 0;  // of the echo
  json::array token_ids;
  json::value logprobs;  // in vLLM's form
};

void AddEvent(const AnswerHead& head,
              const shim::Tokenizer& tokenizer,
              const v1::GenerateEvent& event,
              ChoiceParts* choice) {
  for (const v1::Logprob& logprob : event.logprobs()) {
    choice->has_logprobs = true;
    if (head.is_chat()) {
      choice->chat_logprobs.push_back(ChatLogprobJson(tokenizer, logprob));
    } else {
      choice->text_logprobs.Add(tokenizer, logprob, choice->num_characters);
    }
  }
  choice->text += event.text();
  choice->num_characters += CountCharacters(event.text());
  if (ShowsTokenIds(head, event))
    for (const int32_t id : event.token_ids()) choice->token_ids.push_back(id);
  if (event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
    choice->finish_reason = FinishReasonJson(event);
    choice->longhand = EndJson(event);
  }
}

// As vLLM has it: by token id, the prompt's own first, unless it is among the likeliest.
json::object PromptLogprobJson(const shim::Tokenizer& tokenizer, const v1::Logprob& logprob) {
  json::object out;
  const auto add = [&](const auto& token, json::value rank) {
    out.emplace(std::to_string(token.token_id()),
                json::object{{"logprob", token.logprob()},
                             {"rank", std::move(rank)},
                             {"decoded_token", TokenText(tokenizer, token.token_id())}});
  };
  const auto& top = logprob.top();
  const bool is_among = std::ranges::any_of(
      top, [&](const v1::TopLogprob& each) { return each.token_id() == logprob.token_id(); });
  if (!is_among) add(logprob, nullptr);
  for (int i = 0; i < top.size(); ++i) add(top[i], i + 1);
  return out;
}

PromptParts PromptPartsOf(const AnswerHead& head,
                          const shim::Tokenizer& tokenizer,
                          const Events& events) {
  PromptParts out;
  if (events.empty()) return out;
  const v1::GenerateEvent& first = *events.front();
  if (ShowsPromptTokenIds(head, first)) out.token_ids = TokenIdsJson(first.prompt_token_ids());
  PromptEcho echo(tokenizer);
  if (head.echoes()) echo.Begin(first);
  json::array logprobs = {nullptr};
  for (const v1::GenerateEvent* event : events) {
    if (event->prompt_logprobs_size() == 0) continue;
    if (head.form.echoes_logprobs()) echo.Next(*event, &out.echo);
    if (!head.form.has_prompt_logprobs()) continue;
    for (const v1::Logprob& logprob : event->prompt_logprobs())
      logprobs.push_back(PromptLogprobJson(tokenizer, logprob));
  }
  echo.Rest(&out.echo);
  out.num_characters = echo.num_characters();
  if (head.form.has_prompt_logprobs()) out.logprobs = std::move(logprobs);
  return out;
}

void BeginWith(const AnswerHead& head, const PromptParts& prompt, ChoiceParts* choice) {
  choice->text = prompt.echo.text;
  choice->num_characters = prompt.num_characters;
  if (!head.form.echoes_logprobs()) return;
  choice->text_logprobs = prompt.echo.logprobs;
  choice->has_logprobs = true;
}

void AddPrompt(const PromptParts& prompt, json::object* out) {
  if (!prompt.token_ids.empty()) (*out)["prompt_token_ids"] = prompt.token_ids;
  if (!prompt.logprobs.is_null()) (*out)["prompt_logprobs"] = prompt.logprobs;
}

json::object ChoiceJson(const AnswerHead& head, uint32_t index, ChoiceParts choice) {
  json::object out = {{"index", index}};
  json::value logprobs = nullptr;
  if (head.is_chat()) {
    out["message"] = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
    if (choice.has_logprobs)
      logprobs = {{"content", std::move(choice.chat_logprobs)}, {"refusal", nullptr}};
  } else {
    out["text"] = choice.text;
    if (choice.has_logprobs) logprobs = std::move(choice.text_logprobs).ToJson();
  }
  out["logprobs"] = std::move(logprobs);
  out["finish_reason"] = std::move(choice.finish_reason);
  if (!choice.token_ids.empty()) out["token_ids"] = std::move(choice.token_ids);
  out["longhand"] = std::move(choice.longhand);
  return out;
}

}  // namespace

bool ShowsTokenIds(const AnswerHead& head, const v1::GenerateEvent& event) {
  return event.token_ids_size() > 0 && !head.form.hides_token_ids();
}

bool ShowsPromptTokenIds(const AnswerHead& head, const v1::GenerateEvent& event) {
  return event.prompt_token_ids_size() > 0 && !head.form.hides_prompt_token_ids();
}

json::value FinishReasonJson(const v1::GenerateEvent& event) {
  switch (event.finish_reason()) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    default:
      return nullptr;
  }
}

json::object UsageJson(const v1::Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens()},
          {"completion_tokens", usage.completion_tokens()},
          {"total_tokens", usage.total_tokens()},
          {"prompt_tokens_details", json::object{{"cached_tokens", usage.cached_tokens()}}}};
}

void AddUsage(const v1::Usage& usage, v1::Usage* sum) {
  sum->set_prompt_tokens(sum->prompt_tokens() + usage.prompt_tokens());
  sum->set_completion_tokens(sum->completion_tokens() + usage.completion_tokens());
  sum->set_total_tokens(sum->total_tokens() + usage.total_tokens());
  sum->set_cached_tokens(sum->cached_tokens() + usage.cached_tokens());
}

json::array TokenIdsJson(const google::protobuf::RepeatedField<int32_t>& ids) {
  return json::array(ids.begin(), ids.end());
}

json::object ChatLogprobJson(const shim::Tokenizer& tokenizer, const v1::Logprob& logprob) {
  json::object out = TokenLogprobJson(tokenizer, logprob);
  json::array top;
  for (const v1::TopLogprob& each : logprob.top()) top.push_back(TokenLogprobJson(tokenizer, each));
  out["top_logprobs"] = std::move(top);
  return out;
}

// Of tokens that are the same text, as halves of characters are, the likeliest is shown.
void TextLogprobs::Add(const shim::Tokenizer& tokenizer,
                       const v1::Logprob& logprob,
                       int64_t text_offset) {
  const std::string text = TokenText(tokenizer, logprob.token_id());
  json::object top;
  for (const v1::TopLogprob& each : logprob.top())
    top.emplace(TokenText(tokenizer, each.token_id()), each.logprob());
  top.emplace(text, logprob.logprob());
  tokens_.push_back(json::string(text));
  token_logprobs_.push_back(logprob.logprob());
  top_logprobs_.push_back(std::move(top));
  text_offsets_.push_back(text_offset);
}

void TextLogprobs::AddUnknown(const shim::Tokenizer& tokenizer,
                              int32_t token_id,
                              int64_t text_offset) {
  tokens_.push_back(json::string(TokenText(tokenizer, token_id)));
  token_logprobs_.push_back(nullptr);
  top_logprobs_.push_back(nullptr);
  text_offsets_.push_back(text_offset);
}

json::object TextLogprobs::ToJson() && {
  return {{"tokens", std::move(tokens_)},
          {"token_logprobs", std::move(token_logprobs_)},
          {"top_logprobs", std::move(top_logprobs_)},
          {"text_offset", std::move(text_offsets_)}};
}

json::object EndJson(const v1::GenerateEvent& event) {
  json::object out = {{"finish_detail", event.finish_detail()}};
  if (event.has_length()) {
    const v1::LengthReport& length = event.length();
    out["length"] = {{"target_words", length.target_words()},
                     {"words", length.words()},
                     {"score", length.score()}};
  }
  return out;
}

int64_t CountCharacters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

json::object WholeAnswerJson(const AnswerHead& head,
                             const shim::Tokenizer& tokenizer,
                             const Events& events) {
  return WholeAnswerJson(head, tokenizer, std::vector<Events>{events}, /*num_choices=*/1);
}

json::object WholeAnswerJson(const AnswerHead& head,
                             const shim::Tokenizer& tokenizer,
                             const std::vector<Events>& prompts,
                             uint32_t num_choices) {
  json::object out = {{"id", head.request_id},
                      {"object", head.is_chat() ? "chat.completion" : "text_completion"},
                      {"created", head.form.created()},
                      {"model", head.model}};
  json::array choices;
  v1::Usage usage;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const PromptParts prompt = PromptPartsOf(head, tokenizer, prompts[i]);
    std::map<uint32_t, ChoiceParts> parts;
    for (const v1::GenerateEvent* event : prompts[i]) {
      const auto [choice, is_new] = parts.try_emplace(event->choice());
      if (is_new) BeginWith(head, prompt, &choice->second);
      AddEvent(head, tokenizer, *event, &choice->second);
      if (event->has_usage()) AddUsage(event->usage(), &usage);
    }
    if (i == 0 && !parts.empty()) out["longhand"] = parts.begin()->second.longhand;
    const auto first = static_cast<uint32_t>(i) * num_choices;
    for (auto& [index, choice] : parts) {
      json::object shown = ChoiceJson(head, first + index, std::move(choice));
      if (!head.is_chat()) AddPrompt(prompt, &shown);
      choices.push_back(std::move(shown));
    }
    if (head.is_chat()) AddPrompt(prompt, &out);
  }
  out["choices"] = std::move(choices);
  out["usage"] = prompts.front().empty() ? json::value(nullptr) : UsageJson(usage);
  return out;
}

}  // namespace longhand::http
