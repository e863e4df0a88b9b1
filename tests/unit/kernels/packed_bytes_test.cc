// What Ops::PackedBytes says of a shape against what packing it takes, on each backend.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/bf16.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels {
namespace {

class PackedBytesTest : public ::testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<Ops> MakeOps() {
    if (GetParam() == "reference") return CreateReferenceOps();
    if (GetParam() == "cpu") return std::move(CreateCpuOps(/*num_threads=*/1)).value();
    return std::move(CreateEmulatedOps()).value();
  }

  // kInvalidArgument or kUnimplemented where the backend does not pack such weights.
  Result<std::unique_ptr<PackedLinear>> Pack(const WeightShape& shape) {
    const int64_t n = shape.out_features, k = shape.in_features;
    if (shape.dtype == DType::kF32 || shape.dtype == DType::kBf16) {
      return ops_->PackLinear(TensorView(codes_.data(), shape.dtype, {n, k}));
    }
    QuantizedWeight weight;
    weight.scales = TensorView(floats_.data(), DType::kF32, {n});
    if (shape.dtype == DType::kU8) {
      weight.codes = TensorView(codes_.data(), DType::kU8, {n, k / 2});
      weight.scales = TensorView(floats_.data(), DType::kBf16, {n, k / shape.group_size});
      weight.zeros = TensorView(zeros_.data(), DType::kU8, {n, k / shape.group_size});
    } else {
      weight.codes = TensorView(codes_.data(), shape.dtype, {n, k});
      if (shape.dtype == DType::kI8) {
        weight.scales = TensorView(floats_.data(), DType::kBf16, {n, NumInt8Groups(k)});
      }
    }
    return ops_->PackQuantized(weight);
  }

  const std::unique_ptr<Ops> ops_ = MakeOps();
  std::vector<float> floats_ = std::vector<float>(4096, 1.0f);
  std::vector<uint8_t> zeros_ = std::vector<uint8_t>(4096, 8);
  std::vector<float> codes_ = std::vector<float>(100 * 192);
};

INSTANTIATE_TEST_SUITE_P(Backends,
                         PackedBytesTest,
                         ::testing::Values("reference", "cpu", "emulated"),
                         [](const auto& info) { return info.param; });

TEST_P(PackedBytesTest, AreWhatPackingTakes) {
  int num_packed = 0;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF8E4M3, DType::kI8, DType::kU8}) {
    for (const auto& [rows, columns] : {std::pair{96, 128}, {98, 192}, {7, 64}}) {
      const WeightShape shape{rows, columns, dtype, /*group_size=*/64};
      const auto packed = Pack(shape);
      if (packed.status().code() == StatusCode::kUnimplemented) continue;
      ASSERT_TRUE(packed.ok()) << packed.status();
      ++num_packed;
      EXPECT_EQ(ops_->PackedBytes(shape), static_cast<int64_t>((*packed)->size_bytes()))
          << DTypeName(dtype) << " " << rows << " x " << columns;
    }
  }
  EXPECT_GE(num_packed, 12);
}

}  // namespace
}  // namespace longhand::kernels
