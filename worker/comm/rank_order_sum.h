// The one definition of a sum over ranks: x0 + x1 + x2 + ..., in f32, in that order, rounded once
// for bf16. Every transport uses it, hence every rank and every transport gets the same bits.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor_view.h"

namespace longhand::comm {

// out[i] = operands[0][i] + operands[1][i] + ... for `count` elements of f32 or bf16. `out` may be
// one of the operands; other overlaps are not allowed. No alignment is needed beyond the element's.
void SumInRankOrder(std::span<const void* const> operands, DType dtype, int64_t count, void* out);

}  // namespace longhand::comm
