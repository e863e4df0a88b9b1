// EventWriter: a stream's events as server-sent events, with OpenAI's chunks in them, or with the
// steps of a document.
//
// Each has an id. Events of the answer have their own number, 1 to N; what follows them (usage, an
// error, [DONE]) counts on from N + 1. So a client that comes back with the last id it saw gets the
// rest, with the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/http/answer_json.h"

namespace longhand::http {

class EventWriter {
 public:
  // Some clients take an event for one line, "data: ...": to them the stream is bare, without ids
  // and without pings.
  enum class Lines { kAll, kDataOnly };
  // `tokenizer` outlives it.
  EventWriter(AnswerHead head, const shim::Tokenizer& tokenizer, Lines lines = Lines::kAll);

  // Events come in their order, from the first; those that the client has already are skipped.
  void Skip(const v1::GenerateEvent& event);
  void Append(const v1::GenerateEvent& event, std::string* out);

  // What comes after `num_events` events and the end, from number `from` on.
  void AppendTail(int64_t num_events, const Status& end, int64_t from, std::string* out) const;
  // How many numbers the tail takes.
  int64_t TailLength(const Status& end) const;

  // Keeps proxies from thinking that the connection is dead; no event.
  static constexpr std::string_view kPing = ": ping\n\n";

 private:
  struct Choice {
    bool has_begun = false;
    int64_t num_characters = 0;
  };
  Choice& ChoiceOf(const v1::GenerateEvent& event);
  void AppendEvent(int64_t id, std::string_view data, std::string* out) const;
  boost::json::object ChoiceJson(const v1::GenerateEvent& event, Choice& choice) const;
  std::string ChunkJson(const boost::json::array& choices,
                        const v1::GenerateEvent* event,
                        const v1::Usage* usage) const;

  const AnswerHead head_;
  const shim::Tokenizer& tokenizer_;
  const Lines lines_;
  std::string prefix_;  // of every chunk, as JSON
  std::vector<Choice> choices_;
  v1::Usage usage_;  // so far, then whole
};

}  // namespace longhand::http
