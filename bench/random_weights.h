// RandomWeights: the weights of a model that nobody has trained, in their real sizes.
//
// Every matrix is a part of one pool of random numbers in host memory, packed into memory of its
// own: products have real sizes and real costs, and making them takes no time to speak of. Padding
// is random too.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/config/model_config.h"
#include "common/config/shard_plan.h"
#include "kernels/ops.h"
#include "worker/model/tensor_sizes.h"
#include "worker/model/weight_source.h"

namespace longhand::bench {

// +-1.m * 2^e for random m and one of two neighbouring e: mean 0, standard deviation 1.2 `scale`
// (a power of two).
std::vector<uint16_t> RandomBf16(size_t count, int scale_log2);

class RandomWeights final : public model::WeightSource {
 public:
  // Matrices in bf16, for the shards of `plan`; those of layers as `quantization` says.
  RandomWeights(const ModelConfig& config,
                const ShardPlan& plan,
                Quantization quantization,
                kernels::Ops& ops);

  Result<std::unique_ptr<kernels::PackedLinear>> Linear(
      const std::vector<model::TensorSlice>& slices, kernels::LinearLayout layout) override;
  Result<std::unique_ptr<kernels::PackedLinear>> LayerLinear(
      const std::vector<model::TensorSlice>& slices, kernels::LinearLayout layout) override;
  Result<model::DeviceTensor> Matrix(const model::TensorSlice& slice) override;
  Result<model::DeviceTensor> Vector(const std::vector<model::TensorSlice>& slices) override;
  int64_t done_bytes() const override { return done_bytes_; }

 private:
  TensorView Part(int64_t rows, int64_t columns);
  // Where a part of `count` elements of a pool begins, each time somewhere else.
  int64_t NextOffset(int64_t count, int64_t pool_size);

  kernels::Ops& ops_;
  const model::TensorSizes sizes_;
  std::vector<uint16_t> pool_;
  std::vector<uint8_t> codes_;
  int64_t next_offset_ = 0;
  int64_t done_bytes_ = 0;
};

}  // namespace longhand::bench
