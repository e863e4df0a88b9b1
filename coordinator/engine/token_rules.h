// TokenRules: what an answer so far rules out for a token that is to be sampled.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace longhand::engine {

struct TokenRules {
  bool may_end = true;              // else stop tokens and end-of-sequence ids cannot be sampled
  std::vector<int32_t> banned_ids;  // nor can these
};

// Of the token after those that are known, and of the one after that, which may be planned before
// the former is known. Either looks at no token later than the second before its own, whatever is
// known by then: so timing never changes a text.
using ComingRules = std::array<TokenRules, 2>;

}  // namespace longhand::engine
