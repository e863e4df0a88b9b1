// Checks of operation arguments: each names the argument, what was seen and what was expected.
#pragma once

#include <initializer_list>
#include <string_view>

#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand::kernels {

// The tensor is there (or has no elements) and has this many dimensions.
Status CheckRank(std::string_view name, const TensorView& tensor, int rank);

// As above, with this dtype and shape.
Status CheckTensor(std::string_view name,
                   const TensorView& tensor,
                   DType dtype,
                   std::initializer_list<int64_t> shape);

// As CheckTensor, or absent.
Status CheckOptional(std::string_view name,
                     const TensorView& tensor,
                     DType dtype,
                     std::initializer_list<int64_t> shape);

// f32 or bf16, and the rank.
Status CheckFloat(std::string_view name, const TensorView& tensor, int rank);

// value >= minimum.
Status CheckAtLeast(std::string_view name, int64_t value, int64_t minimum);

}  // namespace longhand::kernels
