// AllowedTokens: a constraint's mask and an answer's rules, as one mask for the next token.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/engine/token_constraint.h"
#include "coordinator/engine/token_rules.h"

namespace longhand::engine {

bool AllowsNone(const std::vector<uint32_t>& mask);

// Tokens that end the answer are allowed only where the constraint may end. What the rules take
// away is left where nothing else is, so that the mask has a bit: a grammar that has come to its
// end ends before min_tokens, and a loop that it asks for goes on. Nothing is allowed only where
// the constraint allows nothing.
std::vector<uint32_t> AllowedTokens(TokenConstraint::Next next,
                                    const TokenRules& rules,
                                    const std::vector<int32_t>& stop_token_ids);

}  // namespace longhand::engine
