// What every communicator asks of its arguments. Ranks run the same code, so a wrong argument is
// our own bug.
#pragma once

#include "common/check.h"
#include "common/tensor_view.h"

namespace longhand::comm {

inline void CheckAllReduce(const TensorView& data) {
  LONGHAND_CHECK(data.dtype() == DType::kF32 || data.dtype() == DType::kBf16)
      << "a sum needs float32 or bfloat16, not " << data.ToString();
}

inline void CheckAllGather(const TensorView& local, const TensorView& all, int size) {
  LONGHAND_CHECK(local.dtype() == all.dtype() && all.num_elements() == size * local.num_elements())
      << size << " ranks cannot gather " << local.ToString() << " into " << all.ToString();
}

inline void CheckRoot(int root, int size) {
  LONGHAND_CHECK(root >= 0 && root < size) << "root " << root << " of " << size << " ranks";
}

}  // namespace longhand::comm
