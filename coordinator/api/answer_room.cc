#include "coordinator/api/answer_room.h"

#include <algorithm>
#include <string_view>

#include "coordinator/engine/request.h"

namespace longhand::api {
namespace {

// Of an answer when the request does not say.
constexpr int64_t kDefaultMaxTokens = 8192;

struct Letters {
  int64_t num_han = 0;
  int64_t num_latin_words = 0;
};

// Roughly, as it takes only to know which are more.
void Count(std::string_view text, Letters* letters) {
  bool in_word = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    // The first bytes of U+4000 to U+9FFF.
    letters->num_han += byte >= 0xE4 && byte <= 0xE9 ? 1 : 0;
    const bool is_letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    letters->num_latin_words += is_letter && !in_word ? 1 : 0;
    in_word = is_letter;
  }
}

}  // namespace

Result<int64_t> MaxTokensFor(const AnswerRoom& room) {
  const int64_t left = room.max_model_len - room.num_prompt_tokens;
  if (left < 0 || (left == 0 && room.max_tokens != 0)) {
    return InvalidArgument("the prompt has ", room.num_prompt_tokens, " tokens; the context of ",
                           room.max_model_len, " leaves no room for an answer")
        .About(kContextLength);
  }
  if (room.target_words < 0 || room.target_words > engine::kMaxTargetWords) {
    return InvalidField("target_words", " is ", room.target_words, "; it must be from 1 to ",
                        engine::kMaxTargetWords);
  }
  if (room.max_tokens.value_or(0) > left) {  // It may be any number yet.
    return InvalidArgument("the prompt has ", room.num_prompt_tokens, " tokens and max_tokens is ",
                           *room.max_tokens, "; together they must fit the context of ",
                           room.max_model_len)
        .About(kContextLength);
  }
  if (room.max_tokens.has_value()) return *room.max_tokens;
  if (room.target_words == 0) return std::min(kDefaultMaxTokens, left);
  if (left < room.target_words / 2) {
    return InvalidField("target_words", " is ", room.target_words, "; the prompt has ",
                        room.num_prompt_tokens, " tokens, and the context of ", room.max_model_len,
                        " leaves ", left, ", less than half a token for each word");
  }
  const int64_t halves = room.is_chinese ? 4 : 5;
  return std::min((room.target_words * halves + 1) / 2, left);
}

bool AsksInChinese(const v1::GenerateRequest& request) {
  Letters letters;
  if (request.has_messages()) {
    if (request.messages().messages().empty()) return false;
    for (const v1::ContentPart& part : request.messages().messages().rbegin()->content())
      Count(part.text(), &letters);
  } else {
    Count(request.text(), &letters);
  }
  return letters.num_han > letters.num_latin_words;
}

}  // namespace longhand::api
