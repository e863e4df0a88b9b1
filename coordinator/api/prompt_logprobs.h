// Log-probabilities of prompts: what a request may ask for.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "coordinator/engine/request.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// Of one client's request in all. They are kept until it ends, some 50 bytes each.
inline constexpr int64_t kMaxPromptLogprobs = 262'144;

// What `wanted` says of them, for a request that has its prompt and its choices. kInvalidArgument
// for too many.
Status SetPromptLogprobs(const v1::Return& wanted, engine::Request* request);

// That the request is shown; each of its answers may begin with them.
int64_t NumPromptLogprobs(const engine::Request& request);
// kInvalidArgument for too many.
Status CheckNumPromptLogprobs(int64_t count);

}  // namespace longhand::api
