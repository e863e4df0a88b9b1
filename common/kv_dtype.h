// Which dtypes a KV cache may have, and what a row of it takes.
#pragma once

#include <cstdint>

#include "common/tensor_view.h"

namespace longhand {

// In 8 bits each token and head has a scale, a float beside its elements.
inline bool HasKvScales(DType kv) { return kv == DType::kI8 || kv == DType::kF8E4M3; }

// Keys, or values, of one token and head.
inline int64_t KvRowBytes(DType kv, int64_t head_dim) {
  return head_dim * static_cast<int64_t>(DTypeSize(kv)) +
         (HasKvScales(kv) ? static_cast<int64_t>(sizeof(float)) : 0);
}

}  // namespace longhand
