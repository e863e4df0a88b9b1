#include "coordinator/engine/request.h"

namespace longhand::engine {
namespace {

Status CheckImages(const Request& request) {
  int64_t end = 0;
  for (size_t i = 0; i < request.images.size(); ++i) {
    const ImageInput& image = request.images[i];
    if (image.num_tokens < 1 || image.num_patches < 1) {
      return InvalidArgument("image ", i, " has ", image.num_tokens, " tokens and ",
                             image.num_patches, " patches; each must be at least 1");
    }
    if (image.offset < end ||
        int64_t{image.offset} + image.num_tokens > request.num_prompt_tokens()) {
      return InvalidArgument("image ", i, " takes tokens ", image.offset, " to ",
                             int64_t{image.offset} + image.num_tokens, "; ", end, " to ",
                             request.num_prompt_tokens(), " are free");
    }
    if (image.pixels == nullptr ||
        static_cast<int64_t>(image.pixels->size()) != int64_t{3} * image.height * image.width) {
      return InvalidArgument(
          "image ", i, " has ", image.pixels == nullptr ? 0 : image.pixels->size(),
          " bytes of pixels; ", image.height, " x ", image.width, " x 3 are needed");
    }
    end = int64_t{image.offset} + image.num_tokens;
  }
  return OkStatus();
}

}  // namespace

Status CheckRequest(const Request& request) {
  if (request.request_id.empty()) return InvalidArgument("the request id is empty");
  if (request.token_ids.empty())
    return InvalidArgument("the prompt is empty; it needs at least one token");
  if (request.positions.size() != 3 * request.token_ids.size()) {
    return InvalidArgument("the prompt has ", request.positions.size(),
                           " positions; it needs 3 for each of ", request.token_ids.size(),
                           " tokens");
  }
  if (request.max_tokens < 0) {
    return InvalidField("max_tokens", " is ", request.max_tokens, "; it must be at least 0");
  }
  if (request.num_choices < 1) return InvalidField("n", " is 0; it must be at least 1");
  if (request.min_tokens < 0 || request.min_tokens > request.max_tokens) {
    return InvalidField("min_tokens", " is ", request.min_tokens,
                        "; it must be from 0 to max_tokens, which is ", request.max_tokens);
  }
  if (request.target_words < 0 || request.target_words > kMaxTargetWords) {
    return InvalidField("target_words", " is ", request.target_words, "; it must be from 1 to ",
                        kMaxTargetWords, ", or 0 for none");
  }
  if (request.target_words > 0 && request.max_tokens == 0) {
    return InvalidField("target_words", " is ", request.target_words,
                        " and max_tokens is 0, with which no answer is written");
  }
  if (request.target_words > 0 && request.constraint != nullptr) {
    return InvalidField("target_words", " is ", request.target_words,
                        " and the answer is held to a form, which decides where it ends; only one "
                        "of the two can be kept");
  }
  if (request.priority < kMinPriority || request.priority > kMaxPriority) {
    return InvalidField("priority", " is ", request.priority, "; it must be from ", kMinPriority,
                        " to ", kMaxPriority);
  }
  return CheckImages(request);
}

}  // namespace longhand::engine
