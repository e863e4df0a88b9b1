// SharePrefill: how prompts that are being prefilled share a step's tokens.
#pragma once

#include <cstdint>
#include <vector>

namespace longhand::engine {

// `wanted`: the tokens that each could take, the longest admitted first. The first gets half of the
// budget, so that none is held up for ever; the rest goes to who wants the fewest, so that a short
// prompt does not wait for long ones; and what those leave, to the first again. Nothing is left
// over while somebody wants it.
std::vector<int64_t> SharePrefill(int64_t budget, const std::vector<int64_t>& wanted);

}  // namespace longhand::engine
