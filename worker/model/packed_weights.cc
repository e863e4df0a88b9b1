#include "worker/model/packed_weights.h"

#include <algorithm>

#include "worker/model/tensor_sizes.h"
#include "worker/model/weights.h"

namespace longhand::model {
namespace {

using kernels::LinearLayout;
using kernels::PackedLinear;

DType CodesOf(Quantization quantization, DType weight_dtype) {
  switch (quantization) {
    case Quantization::kNone:
      return weight_dtype;
    case Quantization::kInt8:
      return DType::kI8;
    case Quantization::kFp8:
      return DType::kF8E4M3;
    case Quantization::kAwq:
      break;
  }
  return DType::kU8;
}

// Hands out nothing, and counts.
class CountingSource final : public WeightSource {
 public:
  CountingSource(const ModelConfig& config,
                 DType weight_dtype,
                 Quantization quantization,
                 const kernels::Ops& ops)
      : WeightSource(quantization),
        sizes_(config),
        weight_dtype_(weight_dtype),
        layer_dtype_(CodesOf(quantization, weight_dtype)),
        group_size_(config.quantization.group_size),
        ops_(ops) {}

  Result<std::unique_ptr<PackedLinear>> Linear(const std::vector<TensorSlice>& slices,
                                               LinearLayout) override {
    return Count(slices, weight_dtype_);
  }
  Result<std::unique_ptr<PackedLinear>> LayerLinear(const std::vector<TensorSlice>& slices,
                                                    LinearLayout) override {
    return Count(slices, layer_dtype_);
  }
  Result<DeviceTensor> Matrix(const TensorSlice& slice) override {
    const TensorSize size = sizes_.Of(slice);
    counted_.bytes += size.rows * size.columns * static_cast<int64_t>(DTypeSize(weight_dtype_));
    return DeviceTensor{};
  }
  Result<DeviceTensor> Vector(const std::vector<TensorSlice>& slices) override {
    counted_.bytes += sizes_.Of(slices).rows * static_cast<int64_t>(sizeof(float));
    return DeviceTensor{};
  }
  int64_t done_bytes() const override { return counted_.bytes; }
  const PackedWeights& counted() const { return counted_; }

 private:
  Result<std::unique_ptr<PackedLinear>> Count(const std::vector<TensorSlice>& slices, DType dtype) {
    const TensorSize size = sizes_.Of(slices);
    IndexRange columns = slices.front().columns;
    if (columns.size() == 0) columns = {0, size.columns};
    counted_.bytes += ops_.PackedBytes({.out_features = size.rows,
                                        .in_features = size.columns,
                                        .dtype = dtype,
                                        .group_size = ShardGroupSize(columns, group_size_)});
    if (dtype != DType::kF32) {
      counted_.max_in_features = std::max(counted_.max_in_features, size.columns);
    }
    return std::unique_ptr<PackedLinear>();
  }

  const TensorSizes sizes_;
  const DType weight_dtype_, layer_dtype_;
  const int64_t group_size_;
  const kernels::Ops& ops_;
  PackedWeights counted_;
};

}  // namespace

PackedWeights PlanPackedWeights(const ModelConfig& config,
                                const ShardPlan& plan,
                                int32_t rank,
                                Quantization quantization,
                                const kernels::Ops& ops) {
  CountingSource source(config, plan.weight_dtype, quantization, ops);
  const auto read = ReadWeights(source, config, plan, rank);
  LONGHAND_CHECK(read.ok()) << read.status();
  return source.counted();
}

}  // namespace longhand::model
