// WeightSource: where a rank's weights come from, as they will lie in an Ops' memory. A checkpoint
// is one (weight_reader.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config/quantization.h"
#include "common/config/shard_plan.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/device_tensor.h"

namespace longhand::model {

// Rows and columns of one tensor, seen as a matrix [first dimension, all others], with zeros below
// and to the right of them up to `padded_rows` and `padded_columns`. An empty range means all.
struct TensorSlice {
  std::string name;  // as published (tensor_specs.h)
  IndexRange rows = {};
  IndexRange columns = {};
  int64_t padded_rows = 0;
  int64_t padded_columns = 0;
};

class WeightSource {
 public:
  explicit WeightSource(Quantization quantization) : quantization_(quantization) {}
  virtual ~WeightSource() = default;

  // Of a decoder layer's matrices, and of others as QuantizesHeadAndEncoder() says.
  Quantization quantization() const { return quantization_; }

  // The slices one below the other; a gate's and an up's with their layout.
  virtual Result<std::unique_ptr<kernels::PackedLinear>> Linear(
      const std::vector<TensorSlice>& slices, kernels::LinearLayout layout) = 0;
  // The same, quantised where the source's weights are.
  virtual Result<std::unique_ptr<kernels::PackedLinear>> LayerLinear(
      const std::vector<TensorSlice>& slices, kernels::LinearLayout layout) = 0;
  // [rows, columns] in the weight dtype, not packed.
  virtual Result<DeviceTensor> Matrix(const TensorSlice& slice) = 0;
  // The slices one after the other, in f32.
  virtual Result<DeviceTensor> Vector(const std::vector<TensorSlice>& slices) = 0;

  // Of weights handed out.
  virtual int64_t done_bytes() const = 0;

 private:
  const Quantization quantization_;
};

}  // namespace longhand::model
