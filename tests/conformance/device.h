// Device: the tensors of one case in the memory of one backend, each between guard bands.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "tests/conformance/host_tensor.h"

namespace longhand::conformance {

class Device {
 public:
  // `misaligned` tensors begin one element after a 64-byte boundary, as rows of odd length do.
  Device(kernels::Ops& ops, bool misaligned = false) : ops_(ops), misaligned_(misaligned) {}
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  kernels::Ops& ops() { return ops_; }

  // Uploads an input. It must come back unchanged.
  TensorView In(const HostTensor& tensor);
  // Uploads what the operation changes.
  TensorView InOut(const HostTensor& tensor);
  // Memory for an output, filled with NaN bytes: what is not written shows.
  TensorView Out(DType dtype, std::vector<int64_t> shape);
  Result<kernels::PackedLinear*> Pack(HostTensor weight,
                                      kernels::LinearLayout layout = kernels::LinearLayout::kPlain);
  Result<kernels::PackedLinear*> Pack(const kernels::QuantizedWeight& weight,
                                      kernels::LinearLayout layout = kernels::LinearLayout::kPlain);

  // A tensor's present value.
  HostTensor Read(const TensorView& tensor);
  // kInternal when a guard band or an input was changed. Under the address sanitizer, where tensors
  // are in host memory, guard bands cannot even be read.
  Status CheckIntact();

 private:
  struct Placed {
    std::unique_ptr<kernels::Buffer> buffer;
    TensorView view;
    size_t offset = 0;  // of the tensor in the buffer
    HostTensor tensor;  // what was uploaded
    bool constant = false;
  };

  TensorView Place(HostTensor tensor, bool constant);
  // Allows, or forbids, access to the guard bands round a tensor.
  void Guard(const Placed& placed, bool forbid) const;

  kernels::Ops& ops_;
  bool misaligned_;
  std::vector<Placed> placed_;
  std::vector<std::unique_ptr<kernels::PackedLinear>> packed_;
};

}  // namespace longhand::conformance
