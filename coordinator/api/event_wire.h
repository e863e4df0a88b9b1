// TokenEvent to its wire form and back to what the engine needs of it.
#pragma once

#include "common/status.h"
#include "coordinator/engine/delivered.h"
#include "coordinator/engine/token_sink.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// What the client asked to see, and what its first event carries.
struct EventContext {
  std::string request_id;
  v1::Return wanted;
  std::vector<int32_t> prompt_token_ids;
};

// The whole event, as the journal keeps it: token ids always.
v1::GenerateEvent ToWire(const engine::TokenEvent& event, const EventContext& context);
// What the client asked to see of it.
v1::GenerateEvent VisibleOf(v1::GenerateEvent whole, const v1::Return& wanted);

// What whole events, in their order, say that `num_choices` answers had delivered.
// kDataLoss when they cannot be of one request.
Result<engine::Delivered> DeliveredOf(const std::vector<v1::GenerateEvent>& whole,
                                      uint32_t num_choices);

}  // namespace longhand::api
