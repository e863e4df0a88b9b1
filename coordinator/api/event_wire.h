// TokenEvent to its wire form.
#pragma once

#include "coordinator/engine/token_sink.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// What the client asked to see, and what its first event carries.
struct EventContext {
  std::string request_id;
  v1::Return wanted;
  std::vector<int32_t> prompt_token_ids;
};

v1::GenerateEvent ToWire(const engine::TokenEvent& event, const EventContext& context);

}  // namespace longhand::api
