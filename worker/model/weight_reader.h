// WeightReader: from slices of checkpoint tensors to weights in an Ops' memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/config/quantization.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/checkpoint.h"
#include "worker/model/code_reader.h"
#include "worker/model/device_tensor.h"
#include "worker/model/slice_view.h"
#include "worker/model/weight_source.h"

namespace longhand::model {

// Called with the bytes of this rank's weights that are ready, and of all of them.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// Reads only what the slices name, through staging buffers that are as large as the largest fused
// matrix. The tensors must have been checked (CheckTensors).
class WeightReader final : public WeightSource {
 public:
  // `on_disk` is the checkpoint's own quantisation; `num_threads` quantise.
  WeightReader(const Checkpoint& checkpoint,
               DType weight_dtype,
               Quantization quantization,
               const CheckpointQuantization& on_disk,
               int64_t total_bytes,
               kernels::Ops& ops,
               const LoadProgress& progress,
               int num_threads)
      : WeightSource(quantization),
        checkpoint_(checkpoint),
        weight_dtype_(weight_dtype),
        on_disk_(on_disk),
        total_bytes_(total_bytes),
        ops_(ops),
        progress_(progress),
        codes_(num_threads) {}

  Result<std::unique_ptr<kernels::PackedLinear>> Linear(const std::vector<TensorSlice>& slices,
                                                        kernels::LinearLayout layout) override;
  Result<std::unique_ptr<kernels::PackedLinear>> LayerLinear(const std::vector<TensorSlice>& slices,
                                                             kernels::LinearLayout layout) override;
  Result<DeviceTensor> Matrix(const TensorSlice& slice) override;
  Result<DeviceTensor> Vector(const std::vector<TensorSlice>& slices) override;
  int64_t done_bytes() const override { return done_bytes_; }

 private:
  // Takes the view's pages into memory, and tells meanwhile that there is progress: a table of some
  // GB on a slow disk would else stand still for longer than a heartbeat may.
  void ReadIn(const SliceView& view);
  // [rows, columns] in `dtype`: the file's own memory where nothing needs to change, otherwise the
  // staging buffer.
  Result<TensorView> Stage(const std::vector<TensorSlice>& slices, DType dtype);
  void Finish(const std::vector<TensorSlice>& slices, int64_t bytes);

  const Checkpoint& checkpoint_;
  const DType weight_dtype_;
  const CheckpointQuantization on_disk_;
  const int64_t total_bytes_;
  kernels::Ops& ops_;
  const LoadProgress& progress_;
  std::vector<char> staging_;
  CodeReader codes_;
  int64_t done_bytes_ = 0;
  int64_t read_bytes_ = 0;  // since progress was told
};

}  // namespace longhand::model
