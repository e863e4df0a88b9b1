#include "coordinator/engine/allowed_tokens.h"

#include <algorithm>
#include <utility>

namespace longhand::engine {
namespace {

// Ids that the model does not have are passed over.
void Set(const std::vector<int32_t>& ids, bool value, std::vector<uint32_t>* mask) {
  for (const int32_t id : ids) {
    const auto word = static_cast<size_t>(id / 32);
    if (id < 0 || word >= mask->size()) continue;
    const uint32_t bit = uint32_t{1} << (id % 32);
    (*mask)[word] = value ? (*mask)[word] | bit : (*mask)[word] & ~bit;
  }
}

void RemoveUnlessAll(const std::vector<int32_t>& ids, std::vector<uint32_t>* mask) {
  std::vector<uint32_t> left = *mask;
  Set(ids, false, &left);
  if (!AllowsNone(left)) *mask = std::move(left);
}

}  // namespace

bool AllowsNone(const std::vector<uint32_t>& mask) {
  return std::all_of(mask.begin(), mask.end(), [](uint32_t word) { return word == 0; });
}

std::vector<uint32_t> AllowedTokens(TokenConstraint::Next next,
                                    const TokenRules& rules,
                                    const std::vector<int32_t>& stop_token_ids) {
  std::vector<uint32_t> mask = std::move(next.allowed);
  RemoveUnlessAll(stop_token_ids, &mask);
  if (next.may_end && (rules.may_end || AllowsNone(mask))) Set(stop_token_ids, true, &mask);
  if (!rules.banned_ids.empty()) RemoveUnlessAll(rules.banned_ids, &mask);
  return mask;
}

}  // namespace longhand::engine
