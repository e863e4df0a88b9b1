// DeviceTensor: a tensor in an Ops' memory, and its owner.
#pragma once

#include <initializer_list>
#include <memory>
#include <utility>

#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/ops.h"

namespace longhand::model {

struct DeviceTensor {
  std::unique_ptr<kernels::Buffer> buffer;
  TensorView view;
};

// Zeroed. kResourceExhausted when there is no memory.
inline Result<DeviceTensor> AllocateTensor(kernels::Ops& ops,
                                           DType dtype,
                                           std::initializer_list<int64_t> shape) {
  size_t bytes = DTypeSize(dtype);
  for (const int64_t dim : shape) bytes *= static_cast<size_t>(dim);
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Buffer> buffer, ops.Allocate(bytes));
  const TensorView view(buffer->data(), dtype, shape);
  return DeviceTensor{std::move(buffer), view};
}

// The first elements of `tensor`'s memory, seen with another shape.
inline TensorView Reshape(const TensorView& tensor, std::initializer_list<int64_t> shape) {
  const TensorView view(tensor.data(), tensor.dtype(), shape);
  LONGHAND_CHECK(view.num_elements() <= tensor.num_elements())
      << view.ToString() << " does not fit into " << tensor.ToString();
  return view;
}

}  // namespace longhand::model
