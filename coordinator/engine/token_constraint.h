// TokenConstraint: a form that an answer is held to. Implemented in coordinator/input, made per
// answer by the request's factory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/status.h"

namespace longhand::engine {

// One per answer; engine thread only. A function of the tokens appended, in order, and of nothing
// else. After an error nothing more is asked of it.
class TokenConstraint {
 public:
  // What may follow the tokens so far.
  struct Next {
    // Bit id % 32 of word id / 32, for each id of the model's vocabulary. No token that ends an
    // answer is told.
    std::vector<uint32_t> allowed;
    bool may_end = false;
  };
  virtual ~TokenConstraint() = default;
  // A token that was allowed, and does not end the answer.
  virtual Status Append(int32_t token_id) = 0;
  // Nothing can follow the tokens so far: they are the whole answer.
  virtual bool must_end() const = 0;
  // Not when it must end. The dear one of the three.
  virtual Result<Next> FindNext() = 0;
};

// Thread-safe.
class TokenConstraintFactory {
 public:
  virtual ~TokenConstraintFactory() = default;
  virtual std::unique_ptr<TokenConstraint> Create() const = 0;
};

}  // namespace longhand::engine
