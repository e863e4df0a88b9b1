// JoinShards() of one row on the host: what reference and CPU share.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "kernels/ops.h"
#include "kernels/token_key.h"

namespace longhand::kernels {

// The masses of scores, as the words were made with: reads scores[i], writes masses[i].
using MassesOf = std::function<void(std::span<const float> scores, std::span<uint64_t> masses)>;

// likeliest[r] and words + r * kShardWords * num_rows are rank r's of this row; the token, or -1.
int32_t JoinShardsOfRow(const SampleRow& row,
                        int64_t vocab_size,
                        TokenKey likeliest,
                        std::span<const uint64_t* const> words,
                        const MassesOf& masses_of);

// The same for all rows of a call.
Status JoinShardsOnHost(const JoinShardsArgs& args, const MassesOf& masses_of);

// The largest of all ranks' keys of a row. likeliest [ranks, S] i64.
TokenKey LikeliestOfRow(const TensorView& likeliest, int64_t row);

}  // namespace longhand::kernels
