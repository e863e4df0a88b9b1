// A constraint whose masks are a function of the tokens, and that checks that it is asked for no
// others.
#pragma once

#include <memory>
#include <vector>

#include "common/check.h"
#include "coordinator/engine/token_constraint.h"
#include "tests/unit/coordinator/engine/fake_model.h"

namespace longhand::engine {

class FakeConstraint : public TokenConstraint {
 public:
  explicit FakeConstraint(uint64_t salt) : state_(Mix(0xD4, salt)) {}

  Status Append(int32_t token_id) override {
    LONGHAND_CHECK(!must_end_) << "token " << token_id << " follows the end";
    LONGHAND_CHECK(Allows(token_id)) << "token " << token_id << " is not allowed";
    state_ = Mix(state_, static_cast<uint64_t>(token_id));
    must_end_ = state_ % 32 == 5;
    return OkStatus();
  }
  bool must_end() const override { return must_end_; }
  Result<Next> FindNext() override {
    Next next;
    next.allowed.resize(kFakeVocabSize / 32);
    for (int32_t id = 0; id < kFakeVocabSize; ++id) {
      if (Allows(id)) next.allowed[static_cast<size_t>(id / 32)] |= uint32_t{1} << (id % 32);
    }
    next.may_end = state_ % 4 == 1;
    return next;
  }

 private:
  // Always one, and a few more.
  bool Allows(int32_t id) const {
    if (id == kFakeEos) return false;
    const auto sure = static_cast<int32_t>(2 + state_ % (kFakeVocabSize - 2));
    return id == sure || Mix(state_, static_cast<uint64_t>(id)) % 8 == 0;
  }

  uint64_t state_;
  bool must_end_ = false;
};

class FakeConstraintFactory : public TokenConstraintFactory {
 public:
  explicit FakeConstraintFactory(uint64_t salt) : salt_(salt) {}
  std::unique_ptr<TokenConstraint> Create() const override {
    return std::make_unique<FakeConstraint>(salt_);
  }

 private:
  const uint64_t salt_;
};

// The ids that a mask leaves out; none for an empty one.
inline std::vector<int32_t> Forbidden(const std::vector<uint32_t>& mask) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; !mask.empty() && id < kFakeVocabSize; ++id) {
    if ((mask[static_cast<size_t>(id / 32)] >> (id % 32) & 1) == 0) ids.push_back(id);
  }
  return ids;
}

}  // namespace longhand::engine
