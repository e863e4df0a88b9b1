// How many tokens an answer may have.
#pragma once

#include <cstdint>
#include <optional>

#include "common/status.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

struct AnswerRoom {
  int64_t num_prompt_tokens = 0;
  int64_t max_model_len = 0;          // tokens of prompt and answer
  std::optional<int64_t> max_tokens;  // as the request says
  int64_t target_words = 0;           // the same; 0: none
  bool is_chinese = false;            // in which words take fewer tokens
};

// What the request says; else 2.5 tokens (in Chinese 2) for each word that it asks for, or 8192, as
// far as the context has room. kInvalidArgument with the numbers where prompt and max_tokens do not
// fit the context, and for a target that is out of range or for which the context has less than
// half a token a word.
Result<int64_t> MaxTokensFor(const AnswerRoom& room);

// Whether most words of the latest message, or of the raw prompt, are characters of Chinese. Of
// token ids nobody knows: false.
bool AsksInChinese(const v1::GenerateRequest& request);

}  // namespace longhand::api
