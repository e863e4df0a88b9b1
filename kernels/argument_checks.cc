#include "kernels/argument_checks.h"

#include <string>

namespace longhand::kernels {
namespace {

std::string ShapeToString(DType dtype, std::initializer_list<int64_t> shape) {
  std::string out(DTypeName(dtype));
  out += "[";
  bool first = true;
  for (int64_t dim : shape) {
    if (!first) out += ", ";
    first = false;
    out += std::to_string(dim);
  }
  return out + "]";
}

}  // namespace

Status CheckRank(std::string_view name, const TensorView& tensor, int rank) {
  if (tensor.rank() != rank) {
    if (tensor.rank() == 0) return InvalidArgument(name, " is missing; it needs rank ", rank);
    return InvalidArgument(name, " is ", tensor.ToString(), "; it needs rank ", rank);
  }
  for (int i = 0; i < rank; ++i) {
    if (tensor.dim(i) < 0) {
      return InvalidArgument(name, " is ", tensor.ToString(), "; no dimension may be negative");
    }
  }
  if (tensor.empty() && tensor.num_elements() > 0) {
    return InvalidArgument(name, " is ", tensor.ToString(), " without memory");
  }
  return OkStatus();
}

Status CheckTensor(std::string_view name,
                   const TensorView& tensor,
                   DType dtype,
                   std::initializer_list<int64_t> shape) {
  LONGHAND_RETURN_IF_ERROR(CheckRank(name, tensor, static_cast<int>(shape.size())));
  if (tensor.dtype() != dtype || !tensor.HasShape(shape)) {
    return InvalidArgument(name, " is ", tensor.ToString(), "; it must be ",
                           ShapeToString(dtype, shape));
  }
  return OkStatus();
}

Status CheckOptional(std::string_view name,
                     const TensorView& tensor,
                     DType dtype,
                     std::initializer_list<int64_t> shape) {
  if (tensor.empty() && tensor.rank() == 0) return OkStatus();
  return CheckTensor(name, tensor, dtype, shape);
}

Status CheckFloat(std::string_view name, const TensorView& tensor, int rank) {
  LONGHAND_RETURN_IF_ERROR(CheckRank(name, tensor, rank));
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBf16) {
    return InvalidArgument(name, " is ", tensor.ToString(), "; it must be float32 or bfloat16");
  }
  return OkStatus();
}

Status CheckAtLeast(std::string_view name, int64_t value, int64_t minimum) {
  if (value < minimum) {
    return InvalidArgument(name, " is ", value, "; it must be at least ", minimum);
  }
  return OkStatus();
}

}  // namespace longhand::kernels
