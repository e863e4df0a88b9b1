// Events of a request become OpenAI's JSON: whole answers, and chunks of streams.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "longhand/journal/v1/record.pb.h"
#include "longhand/v1/generation.pb.h"
#include "shim/tokenizer.h"

namespace longhand::http {

// Whose answer it is.
struct AnswerHead {
  std::string request_id;
  std::string model;
  journal::v1::AnswerForm form;

  bool is_chat() const { return form.kind() != journal::v1::AnswerForm::KIND_TEXT_COMPLETION; }
  bool is_document() const { return form.kind() == journal::v1::AnswerForm::KIND_DOCUMENT; }
  bool echoes() const { return form.num_echoes() > 0; }
};

// Whether its client is to see them.
bool ShowsTokenIds(const AnswerHead& head, const v1::GenerateEvent& event);
bool ShowsPromptTokenIds(const AnswerHead& head, const v1::GenerateEvent& event);

// What both kinds of JSON have in common.
boost::json::value FinishReasonJson(const v1::GenerateEvent& event);
boost::json::object UsageJson(const v1::Usage& usage);
void AddUsage(const v1::Usage& usage, v1::Usage* sum);
boost::json::array TokenIdsJson(const google::protobuf::RepeatedField<int32_t>& ids);
// A logprob as chat completions show it, with its alternatives.
boost::json::object ChatLogprobJson(const shim::Tokenizer& tokenizer, const v1::Logprob& logprob);

// The lists of a text completion's logprobs. `text_offset` counts characters of its text.
class TextLogprobs {
 public:
  void Add(const shim::Tokenizer& tokenizer, const v1::Logprob& logprob, int64_t text_offset);
  // A token without any: the first of a prompt.
  void AddUnknown(const shim::Tokenizer& tokenizer, int32_t token_id, int64_t text_offset);
  bool empty() const { return tokens_.empty(); }
  boost::json::object ToJson() &&;

 private:
  boost::json::array tokens_;
  boost::json::array token_logprobs_;
  boost::json::array top_logprobs_;
  boost::json::array text_offsets_;
};

// What a choice's last event says beyond OpenAI's fields.
boost::json::object EndJson(const v1::GenerateEvent& event);

int64_t CountCharacters(std::string_view utf8);

// Of a request: all of them.
using Events = std::vector<const v1::GenerateEvent*>;

// The whole answer.
boost::json::object WholeAnswerJson(const AnswerHead& head,
                                    const shim::Tokenizer& tokenizer,
                                    const Events& events);
// Of several prompts, each with `num_choices` answers, numbered on from prompt to prompt.
boost::json::object WholeAnswerJson(const AnswerHead& head,
                                    const shim::Tokenizer& tokenizer,
                                    const std::vector<Events>& prompts,
                                    uint32_t num_choices);

}  // namespace longhand::http
