#include "coordinator/http/event_writer.h"

#include <utility>

#include "coordinator/http/document_json.h"
#include "coordinator/http/error_response.h"

namespace longhand::http {
namespace json = boost::json;

EventWriter::EventWriter(AnswerHead head,
                         const shim::Tokenizer& tokenizer,
                         Lines lines,
                         uint32_t first_choice)
    : head_(std::move(head)),
      tokenizer_(tokenizer),
      lines_(lines),
      first_choice_(first_choice),
      choices_(head_.form.num_echoes()),
      echo_(tokenizer) {
  prefix_ = json::serialize(json::object{{"id", head_.request_id},
                                         {"object", head_.is_document() ? "document.chunk"
                                                    : head_.is_chat()   ? "chat.completion.chunk"
                                                                        : "text_completion"},
                                         {"created", head_.form.created()},
                                         {"model", head_.model}});
  prefix_.back() = ',';  // instead of the brace
}

EventWriter::Choice& EventWriter::ChoiceOf(const v1::GenerateEvent& event) {
  if (event.choice() >= choices_.size()) choices_.resize(event.choice() + 1);
  usage_.set_prompt_tokens(usage_.prompt_tokens() + event.prompt_token_ids_size());
  usage_.set_completion_tokens(usage_.completion_tokens() + event.token_ids_size());
  usage_.set_total_tokens(usage_.prompt_tokens() + usage_.completion_tokens());
  if (event.has_usage()) usage_ = event.usage();
  if (event.seq() == 1 && head_.echoes()) echo_.Begin(event);
  return choices_[event.choice()];
}

void EventWriter::Skip(const v1::GenerateEvent& event) {
  Choice& choice = ChoiceOf(event);
  if (TakeEcho(event).has_value()) return;
  (void)BeginWith(choice);
  choice.has_begun = true;
  choice.num_characters += CountCharacters(event.text());
}

void EventWriter::Append(const v1::GenerateEvent& event, std::string* out) {
  if (head_.is_document()) {
    const std::string step = json::serialize(DocumentStepJson(event));
    return AppendEvent(event.seq(), prefix_ + step.substr(1), out);
  }
  Choice& choice = ChoiceOf(event);
  const v1::Usage* usage = head_.form.continuous_usage() ? &usage_ : nullptr;
  const std::optional<PromptEcho::Part> echo = TakeEcho(event);
  const json::array choices =
      echo.has_value() ? EchoJson(event, *echo) : json::array{ChoiceJson(event, choice)};
  AppendEvent(event.seq(), ChunkJson(choices, &event, usage), out);
}

std::optional<PromptEcho::Part> EventWriter::TakeEcho(const v1::GenerateEvent& event) {
  if (event.prompt_logprobs_size() == 0 || !head_.form.echoes_logprobs()) return std::nullopt;
  PromptEcho::Part part;
  echo_.Next(event, &part);
  for (Choice& choice : choices_) {
    choice.has_begun = true;
    choice.num_characters = echo_.num_characters();
  }
  return part;
}

PromptEcho::Part EventWriter::BeginWith(Choice& choice) const {
  PromptEcho::Part part;
  if (choice.has_begun || !head_.echoes()) return part;
  PromptEcho echo = echo_;
  echo.Rest(&part);
  choice.num_characters = echo.num_characters();
  if (!head_.form.echoes_logprobs()) part.logprobs = {};
  return part;
}

json::array EventWriter::EchoJson(const v1::GenerateEvent& event,
                                  const PromptEcho::Part& part) const {
  json::object shown = {{"index", 0}, {"text", part.text}};
  if (ShowsPromptTokenIds(head_, event))
    shown["prompt_token_ids"] = TokenIdsJson(event.prompt_token_ids());
  shown["logprobs"] = TextLogprobs(part.logprobs).ToJson();
  shown["finish_reason"] = nullptr;
  json::array out;
  for (uint32_t i = 0; i < head_.form.num_echoes(); ++i) {
    shown["index"] = first_choice_ + i;
    out.push_back(shown);
  }
  return out;
}

json::object EventWriter::ChoiceJson(const v1::GenerateEvent& event, Choice& choice) const {
  json::object out = {{"index", first_choice_ + event.choice()}};
  json::value logprobs = nullptr;
  if (head_.is_chat()) {
    json::object delta;
    if (!choice.has_begun) delta["role"] = "assistant";
    delta["content"] = event.text();
    out["delta"] = std::move(delta);
    if (event.logprobs_size() > 0) {
      json::array content;
      for (const v1::Logprob& logprob : event.logprobs())
        content.push_back(ChatLogprobJson(tokenizer_, logprob));
      logprobs = {{"content", std::move(content)}, {"refusal", nullptr}};
    }
  } else {
    PromptEcho::Part begin = BeginWith(choice);
    TextLogprobs lists = std::move(begin.logprobs);
    for (const v1::Logprob& logprob : event.logprobs())
      lists.Add(tokenizer_, logprob, choice.num_characters);
    out["text"] = begin.text + event.text();
    if (!lists.empty()) logprobs = std::move(lists).ToJson();
    if (ShowsPromptTokenIds(head_, event))
      out["prompt_token_ids"] = TokenIdsJson(event.prompt_token_ids());
  }
  choice.has_begun = true;
  choice.num_characters += CountCharacters(event.text());
  out["logprobs"] = std::move(logprobs);
  out["finish_reason"] = FinishReasonJson(event);
  if (ShowsTokenIds(head_, event)) out["token_ids"] = TokenIdsJson(event.token_ids());
  if (!event.finish_detail().empty()) out["longhand"] = EndJson(event);
  return out;
}

std::string EventWriter::ChunkJson(const json::array& choices,
                                   const v1::GenerateEvent* event,
                                   const v1::Usage* usage) const {
  std::string chunk = prefix_;
  chunk.append("\"choices\":").append(json::serialize(choices));
  if (event != nullptr && head_.is_chat() && ShowsPromptTokenIds(head_, *event)) {
    chunk.append(",\"prompt_token_ids\":")
        .append(json::serialize(TokenIdsJson(event->prompt_token_ids())));
  }
  if (head_.form.include_usage()) {
    json::value shown = nullptr;
    if (usage != nullptr) shown = UsageJson(*usage);
    // What was cached is told at the end.
    if (usage != nullptr && event != nullptr && !event->has_usage())
      shown.get_object().erase("prompt_tokens_details");
    chunk.append(",\"usage\":").append(json::serialize(shown));
  }
  return chunk.append("}");
}

void EventWriter::AppendEvent(int64_t id, std::string_view data, std::string* out) const {
  if (lines_ == Lines::kAll) out->append("id: ").append(std::to_string(id)).append("\n");
  out->append("data: ").append(data).append("\n\n");
}

int64_t EventWriter::TailLength(const Status& end) const {
  // A coordinator that stops says so in passing: the stream goes on with the next.
  if (!end.ok()) return end.code() == StatusCode::kUnavailable ? 0 : 1;
  return head_.form.include_usage() ? 2 : 1;
}

void EventWriter::AppendTail(int64_t num_events,
                             const Status& end,
                             int64_t from,
                             std::string* out) const {
  if (!end.ok()) {
    const int64_t id = num_events + TailLength(end);
    if (id >= from || TailLength(end) == 0) AppendEvent(id, ErrorJson(end), out);
    return;
  }
  int64_t id = num_events + 1;
  if (head_.form.include_usage()) {
    if (id >= from) AppendEvent(id, ChunkJson({}, nullptr, &usage_), out);
    ++id;
  }
  if (id >= from) AppendEvent(id, "[DONE]", out);
}

void EventWriter::AppendTailOf(const v1::Usage& usage, std::string* out) const {
  if (head_.form.include_usage()) AppendEvent(0, ChunkJson({}, nullptr, &usage), out);
  AppendEvent(0, "[DONE]", out);
}

}  // namespace longhand::http
