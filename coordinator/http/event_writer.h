// EventWriter: a stream's events as server-sent events, with OpenAI's chunks in them, or with the
// steps of a document.
//
// Each has an id. Events of the answer have their own number, 1 to N; what follows them (usage, an
// error, [DONE]) counts on from N + 1. So a client that comes back with the last id it saw gets the
// rest, with the same bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/http/answer_json.h"
#include "coordinator/http/prompt_echo.h"

namespace longhand::http {

class EventWriter {
 public:
  // Some clients take an event for one line, "data: ...": to them the stream is bare, without ids
  // and without pings. kWithoutIds: with pings.
  enum class Lines { kAll, kWithoutIds, kDataOnly };
  // `tokenizer` outlives it. `first_choice`: what the request's first answer is numbered.
  EventWriter(AnswerHead head,
              const shim::Tokenizer& tokenizer,
              Lines lines = Lines::kAll,
              uint32_t first_choice = 0);

  // Events come in their order, from the first; those that the client has already are skipped.
  void Skip(const v1::GenerateEvent& event);
  void Append(const v1::GenerateEvent& event, std::string* out);

  // What comes after `num_events` events and the end, from number `from` on.
  void AppendTail(int64_t num_events, const Status& end, int64_t from, std::string* out) const;
  // How many numbers the tail takes.
  int64_t TailLength(const Status& end) const;
  // Whole once the last event was appended.
  const v1::Usage& usage() const { return usage_; }
  // The tail of this request's usage and that of others.
  void AppendTailOf(const v1::Usage& usage, std::string* out) const;

  // Keeps proxies from thinking that the connection is dead; no event.
  static constexpr std::string_view kPing = ": ping\n\n";

 private:
  struct Choice {
    bool has_begun = false;
    int64_t num_characters = 0;
  };
  Choice& ChoiceOf(const v1::GenerateEvent& event);
  void AppendEvent(int64_t id, std::string_view data, std::string* out) const;
  // The part of the prompt that the event brings to all answers; nothing for an event of one.
  std::optional<PromptEcho::Part> TakeEcho(const v1::GenerateEvent& event);
  // The part of the prompt that no such event brings, to the first event of an answer: all of it,
  // or the one token of the shortest.
  PromptEcho::Part BeginWith(Choice& choice) const;
  boost::json::array EchoJson(const v1::GenerateEvent& event, const PromptEcho::Part& part) const;
  boost::json::object ChoiceJson(const v1::GenerateEvent& event, Choice& choice) const;
  std::string ChunkJson(const boost::json::array& choices,
                        const v1::GenerateEvent* event,
                        const v1::Usage* usage) const;

  const AnswerHead head_;
  const shim::Tokenizer& tokenizer_;
  const Lines lines_;
  const uint32_t first_choice_;
  std::string prefix_;  // of every chunk, as JSON
  std::vector<Choice> choices_;
  PromptEcho echo_;
  v1::Usage usage_;  // so far, then whole
};

}  // namespace longhand::http
