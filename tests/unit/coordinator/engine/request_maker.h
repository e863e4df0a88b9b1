// Requests for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/engine/request.h"
#include "tests/unit/coordinator/engine/fake_model.h"

namespace longhand::engine {

// `num_tokens` prompt tokens whose ids and positions depend on `salt`.
inline Request MakeRequest(const std::string& id,
                           int64_t num_tokens,
                           int64_t max_tokens,
                           uint64_t salt = 7) {
  Request request;
  request.request_id = id;
  for (int64_t i = 0; i < num_tokens; ++i) {
    request.token_ids.push_back(static_cast<int32_t>(Mix(salt, i) % kFakeVocabSize));
    for (int axis = 0; axis < 3; ++axis)
      request.positions.push_back(static_cast<int32_t>(i) + axis);
  }
  request.max_tokens = max_tokens;
  request.sampling.seed = salt;
  request.rope_delta = -2;
  return request;
}

// Turns tokens [offset, offset + num_tokens) into picture number `picture`.
inline void AddImage(Request& request, int32_t offset, int32_t num_tokens, uint8_t picture) {
  ImageInput image;
  image.hash.fill(picture);
  image.offset = offset;
  image.num_tokens = num_tokens;
  image.num_patches = 4 * num_tokens;
  image.height = 2;
  image.width = 2;
  image.pixels = std::make_shared<const std::vector<uint8_t>>(12, picture);
  request.images.push_back(image);
}

}  // namespace longhand::engine
