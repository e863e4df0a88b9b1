// Neighbours: the engines of the other worker groups, as one engine sees them. Router implements
// it.
#pragma once

#include <memory>

#include "coordinator/engine/request.h"
#include "coordinator/engine/request_table.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

// Called on the thread of the engine that has no worker group; nothing here waits.
class Neighbours {
 public:
  virtual ~Neighbours() = default;
  // Whether one of them has a worker group.
  virtual bool HaveGroup() const = 0;
  // Submits the request to one that has. False, and the sink stays where it is, if none can take
  // it.
  virtual bool TakeNew(const std::shared_ptr<const Request>& request,
                       std::unique_ptr<TokenSink>* sink) = 0;
  // Gives one of them a request that has begun, as it is. False, and it stays, if none can take it.
  virtual bool TakeOver(std::unique_ptr<ActiveRequest>* active) = 0;
};

}  // namespace longhand::engine
