// DeliveryGate: what keeps the engine from making more than can be delivered. Implemented in
// coordinator/api by the journal.
#pragma once

#include "common/status.h"

namespace longhand::engine {

// Any thread; nothing here waits.
class DeliveryGate {
 public:
  virtual ~DeliveryGate() = default;
  // kUnavailable while what is accepted now could not be kept.
  virtual Status CheckAdmission() const = 0;
  // So much waits to be delivered that nothing more is planned. The engine looks again soon.
  virtual bool IsFull() const = 0;
};

// Never in the way: nothing is kept.
class OpenGate final : public DeliveryGate {
 public:
  Status CheckAdmission() const override { return OkStatus(); }
  bool IsFull() const override { return false; }
};

}  // namespace longhand::engine
