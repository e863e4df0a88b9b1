// Checkpoints that are quantised, and weights that become so: looked at through the reference
// backend, as weights_test.cc does.
#include "worker/model/code_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "common/config/shard_plan.h"
#include "common/fp8.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_model.h"
#include "worker/model/tensor_specs.h"
#include "worker/model/weights.h"

namespace longhand::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RandomTensors;
using testing::TempDirectory;
using testing::TestTensor;
using testing::TestTensors;
using testing::TinyConfig;

template <typename T>
TestTensor Tensor(DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  return {dtype, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}

class CodeReaderTest : public ::testing::Test {
 protected:
  const Checkpoint& Open(const TestTensors& tensors) {
    WriteSafetensors(directory_ / "model.safetensors", tensors);
    auto opened = Checkpoint::Open(directory_.path());
    LONGHAND_CHECK(opened.ok()) << opened.status();
    checkpoint_.emplace(std::move(opened).value());
    return *checkpoint_;
  }

  static kernels::QuantizedWeight Read(CodeReader& reader,
                                       const Checkpoint& checkpoint,
                                       const std::vector<TensorSlice>& slices,
                                       Quantization quantization,
                                       const CheckpointQuantization& on_disk) {
    auto weight = reader.Read(checkpoint, slices, quantization, on_disk);
    LONGHAND_CHECK(weight.ok()) << weight.status();
    return *weight;
  }

  TempDirectory directory_;
  std::optional<Checkpoint> checkpoint_;
  CodeReader reader_{/*num_threads=*/1};
};

int CodeAt(const kernels::QuantizedWeight& weight, int64_t n, int64_t k) {
  const int64_t at = n * weight.in_features() + k;
  return weight.codes.as<uint8_t>()[at / 2] >> (at % 2 * 4) & 15;
}

// The word 0x76543210 holds n in nibble n: outputs 0, 2, 4, 6, 1, 3, 5, 7.
TEST_F(CodeReaderTest, AwqWordsHoldOutputsInTheirInterleavedOrder) {
  std::vector<uint32_t> words(128 * 2, 0x76543210u);
  words[128 * 2 - 1] = 0x89abcdefu;  // input 127, outputs 8 to 15
  const Checkpoint& checkpoint =
      Open({{"a.qweight", Tensor(DType::kI32, {128, 2}, words)},
            {"a.qzeros", Tensor(DType::kI32, {1, 2}, std::vector<uint32_t>{0x10u, 0xfedcba98u})},
            {"a.scales", Tensor(DType::kBf16, {1, 16}, std::vector<Bf16>(16, Bf16(0.5f)))}});
  const kernels::QuantizedWeight weight =
      Read(reader_, checkpoint, {{"a.weight"}}, Quantization::kAwq, {Quantization::kAwq, 128});
  ASSERT_TRUE(kernels::CheckQuantizedWeight(weight).ok());
  EXPECT_EQ(weight.out_features(), 16);
  EXPECT_EQ(weight.in_features(), 128);
  std::vector<int> first, last;
  for (int64_t n = 0; n < 8; ++n) first.push_back(CodeAt(weight, n, 0));
  for (int64_t n = 8; n < 16; ++n) last.push_back(CodeAt(weight, n, 127));
  EXPECT_THAT(first, ElementsAre(0, 4, 1, 5, 2, 6, 3, 7));
  EXPECT_THAT(last, ElementsAre(15, 11, 14, 10, 13, 9, 12, 8));
  const uint8_t* zeros = weight.zeros.as<uint8_t>();
  EXPECT_THAT(std::vector<int>(zeros, zeros + 4), ElementsAre(0, 0, 1, 0));
  EXPECT_THAT(std::vector<int>(zeros + 8, zeros + 12), ElementsAre(8, 12, 9, 13));
}

// A rank has inputs 64 .. 191 of two groups of 128: a half of each, with its scale and zero.
TEST_F(CodeReaderTest, AShardThatCutsAwqGroupsHasHalvesOfThem) {
  std::vector<uint32_t> words(256);
  std::iota(words.begin(), words.end(), 0);  // output 0 of input k is k % 16
  const Checkpoint& checkpoint =
      Open({{"a.qweight", Tensor(DType::kI32, {256, 1}, words)},
            {"a.qzeros", Tensor(DType::kI32, {2, 1}, std::vector<uint32_t>{3, 5})},
            {"a.scales", Tensor(DType::kF32, {2, 8}, std::vector<float>(16, 2.0f))}});
  const kernels::QuantizedWeight weight =
      Read(reader_, checkpoint, {{.name = "a.weight", .rows = {0, 2}, .columns = {64, 192}}},
           Quantization::kAwq, {Quantization::kAwq, 128});
  ASSERT_TRUE(kernels::CheckQuantizedWeight(weight).ok());
  EXPECT_EQ(weight.group_size(), 64);
  const uint8_t* zeros = weight.zeros.as<uint8_t>();
  EXPECT_THAT(std::vector<int>(zeros, zeros + 2), ElementsAre(3, 5));
  EXPECT_EQ(CodeAt(weight, 0, 0), 64 % 16);
  EXPECT_EQ(CodeAt(weight, 0, 100), 164 % 16);
}

TEST_F(CodeReaderTest, Fp8CodesAndScalesComeFromTheFile) {
  std::vector<Fp8E4M3> codes;
  for (int i = 0; i < 12; ++i) codes.push_back(Fp8E4M3(static_cast<float>(i)));
  const Checkpoint& checkpoint =
      Open({{"a.weight", Tensor(DType::kF8E4M3, {3, 4}, codes)},
            {"a.weight_scale",
             Tensor(DType::kBf16, {3, 1}, std::vector<Bf16>{Bf16(1), Bf16(2), Bf16(4)})}});
  const kernels::QuantizedWeight weight =
      Read(reader_, checkpoint, {{.name = "a.weight", .rows = {1, 3}, .columns = {2, 4}}},
           Quantization::kFp8, {Quantization::kFp8});
  const auto* seen = weight.codes.as<Fp8E4M3>();
  EXPECT_EQ(static_cast<float>(seen[0]), 6);
  EXPECT_EQ(static_cast<float>(seen[3]), 11);
  EXPECT_THAT(std::vector<float>(weight.scales.as<float>(), weight.scales.as<float>() + 2),
              ElementsAre(2, 4));
}

TEST_F(CodeReaderTest, RowsAreRoundedWithTheirLargestMagnitudeAsTheLargestCode) {
  const Checkpoint& checkpoint =
      Open({{"a.weight", Tensor(DType::kF32, {2, 3}, std::vector<float>{1, -2, 0.5f, 0, 0, 0})}});
  const kernels::QuantizedWeight fp8 =
      Read(reader_, checkpoint, {{"a.weight"}}, Quantization::kFp8, {});
  EXPECT_EQ(static_cast<float>(fp8.codes.as<Fp8E4M3>()[1]), -448);
  EXPECT_EQ(static_cast<float>(fp8.codes.as<Fp8E4M3>()[0]), 224);
  EXPECT_EQ(fp8.scales.as<float>()[0], 2.0f / 448);
  EXPECT_EQ(fp8.scales.as<float>()[1], 0);
}

// 0.01 becomes 1 in a group of its own size, and 0 in one with 100.
TEST_F(CodeReaderTest, Int8RowsAreRoundedByGroupsOf32) {
  std::vector<float> row(70, 0.01f);
  row[40] = 100;
  const Checkpoint& checkpoint = Open({{"a.weight", Tensor(DType::kF32, {1, 70}, row)}});
  const kernels::QuantizedWeight weight =
      Read(reader_, checkpoint, {{"a.weight"}}, Quantization::kInt8, {});
  ASSERT_EQ(weight.scales.ToString(), "bfloat16[1, 3]");
  const int8_t* codes = weight.codes.as<int8_t>();
  for (const int k : {0, 31, 40, 64, 69}) EXPECT_GE(codes[k], 126) << k;
  for (const int k : {32, 39, 63}) EXPECT_EQ(codes[k], 0) << k;
}

TEST_F(CodeReaderTest, Int8HasZerosWhereASliceIsPadded) {
  const Checkpoint& checkpoint =
      Open({{"a.weight", Tensor(DType::kF32, {2, 3}, std::vector<float>{1, -1, 1, 1, 1, -1})}});
  const kernels::QuantizedWeight weight =
      Read(reader_, checkpoint, {{.name = "a.weight", .padded_rows = 3, .padded_columns = 40}},
           Quantization::kInt8, {});
  ASSERT_EQ(weight.codes.ToString(), "int8[3, 40]");
  ASSERT_EQ(weight.scales.ToString(), "bfloat16[3, 2]");
  for (int i = 0; i < 3 * 40; ++i) {
    EXPECT_EQ(weight.codes.as<int8_t>()[i] != 0, i / 40 < 2 && i % 40 < 3) << i;
  }
}

// The scale is the one of two that loses less, so codes are the nearest by one of them.
TEST_F(CodeReaderTest, OfTwoScalesInt8TakesTheBetter) {
  std::vector<float> row;
  for (int k = 0; k < 32 * 40; ++k) row.push_back(std::sin(static_cast<float>(k * k % 977)));
  const Checkpoint& checkpoint = Open({{"a.weight", Tensor(DType::kF32, {1, 32 * 40}, row)}});
  const kernels::QuantizedWeight weight =
      Read(reader_, checkpoint, {{"a.weight"}}, Quantization::kInt8, {});
  int num_above = 0;
  for (int g = 0; g < 40; ++g) {
    const float* group = row.data() + 32 * g;
    float largest = 0;
    for (int k = 0; k < 32; ++k) largest = std::max(largest, std::abs(group[k]));
    const auto loss = [&](float scale) {
      double sum = 0;
      for (int k = 0; k < 32; ++k) {
        const double code = std::clamp(std::nearbyint(group[k] / scale), -127.0f, 127.0f);
        sum += std::pow(code * scale - group[k], 2);
      }
      return sum;
    };
    Bf16 above(largest / 127);
    const auto near = static_cast<float>(above);
    ++above.bits;
    const auto seen = static_cast<float>(weight.scales.as<Bf16>()[g]);
    EXPECT_TRUE(seen == near || seen == static_cast<float>(above)) << g;
    EXPECT_LE(loss(seen), std::min(loss(near), loss(static_cast<float>(above))) * 1.0001) << g;
    num_above += seen != near;
  }
  EXPECT_GT(num_above, 5);
  EXPECT_LT(num_above, 35);
}

// Codes of all rows, one reader's with one thread and another's with more threads than it has rows
// for some of its parts; and the nearest codes by the plainest arithmetic.
TEST_F(CodeReaderTest, ThreadsDivideRowsAndDoNotShow) {
  constexpr int64_t kRows = 13, kColumns = 37;
  std::vector<Bf16> elements;
  uint32_t state = 9;
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    state = state * 1664525u + 1013904223u;
    const float fraction = static_cast<float>(state >> 8) * 0x1p-23f - 1;
    elements.push_back(Bf16(std::ldexp(fraction, -static_cast<int>(i % 9))));
  }
  const Checkpoint& checkpoint =
      Open({{"a.weight", Tensor(DType::kBf16, {kRows, kColumns}, elements)},
            {"b.weight", Tensor(DType::kBf16, {kRows, kColumns}, elements)}});
  const std::vector<TensorSlice> slices = {{.name = "a.weight"},
                                           {.name = "b.weight", .rows = {2, 4}}};
  CodeReader many(/*num_threads=*/5);
  for (const Quantization quantization : {Quantization::kFp8, Quantization::kInt8}) {
    const kernels::QuantizedWeight one = Read(reader_, checkpoint, slices, quantization, {});
    const kernels::QuantizedWeight other = Read(many, checkpoint, slices, quantization, {});
    ASSERT_EQ(one.codes.dim(0), kRows + 2);
    ASSERT_EQ(one.codes.ToString(), other.codes.ToString());
    EXPECT_EQ(std::memcmp(one.codes.data(), other.codes.data(), one.codes.num_bytes()), 0);
    EXPECT_EQ(std::memcmp(one.scales.data(), other.scales.data(), one.scales.num_bytes()), 0);
    for (int64_t row = 0; row < kRows; ++row) {
      float largest = 0;
      const auto at = [&](int64_t k) { return static_cast<float>(elements[row * kColumns + k]); };
      for (int64_t k = 0; k < kColumns; ++k) largest = std::max(largest, std::abs(at(k)));
      for (int64_t k = 0; k < kColumns; ++k) {
        const int64_t i = row * kColumns + k;
        if (quantization == Quantization::kInt8) {
          const auto scale = static_cast<float>(one.scales.as<Bf16>()[row * 2 + k / 32]);
          EXPECT_NEAR(one.codes.as<int8_t>()[i], at(k) / scale, 0.5001);
        } else {
          EXPECT_EQ(one.codes.as<Fp8E4M3>()[i], Fp8E4M3(at(k) * (448.0f / largest)));
        }
      }
    }
  }
}

// What the plan promises is what is loaded, on every rank.
TEST_F(CodeReaderTest, EveryRankLoadsTheBytesOfThePlan) {
  const ModelConfig config = TinyConfig();
  const Checkpoint& checkpoint = Open(RandomTensors(config, /*seed=*/3));
  const std::unique_ptr<kernels::Ops> ops = kernels::CreateReferenceOps();
  for (const Quantization quantization : {Quantization::kInt8, Quantization::kFp8}) {
    for (const int32_t tp_size : {1, 2, 4}) {
      const auto plan = PlanShards(config, tp_size, DType::kBf16, DType::kBf16, quantization);
      ASSERT_TRUE(plan.ok()) << plan.status();
      for (int32_t rank = 0; rank < tp_size; ++rank) {
        const auto weights =
            LoadWeights(checkpoint, config, tp_size, rank, DType::kBf16, quantization, *ops, {});
        ASSERT_TRUE(weights.ok()) << weights.status();
        EXPECT_EQ(weights->bytes, plan->ranks[static_cast<size_t>(rank)].weight_bytes);
        EXPECT_TRUE(weights->layers[0].down->is_quantized());
        const bool all = quantization == Quantization::kInt8;
        EXPECT_EQ(weights->head->is_quantized(), all);
        EXPECT_EQ(weights->vision.blocks[0].down.weight->is_quantized(), all);
        EXPECT_EQ(weights->vision.merger_fc1.weight->is_quantized(), all);
        EXPECT_FALSE(weights->vision.patch_embed->is_quantized());
      }
    }
  }
}

// Kernels that widen codes take NaN for a number (kernels/cuda/mma.h).
class NanTest : public CodeReaderTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    if (GetParam() == "emulated") GTEST_SKIP() << "emulated devices are fibers";
#endif
  }
  static std::unique_ptr<kernels::Ops> MakeOps() {
    if (GetParam() == "reference") return kernels::CreateReferenceOps();
    if (GetParam() == "cpu") return std::move(kernels::CreateCpuOps(1)).value();
    return std::move(kernels::CreateEmulatedOps()).value();
  }
  Status Load(const TestTensors& tensors, const ModelConfig& config, Quantization quantization) {
    const std::unique_ptr<kernels::Ops> ops = MakeOps();
    return LoadWeights(Open(tensors), config, 1, 0, DType::kBf16, quantization, *ops, {}).status();
  }
};

TEST_P(NanTest, AnFp8CheckpointWithNanCodesIsRefusedByName) {
  ModelConfig config = TinyConfig();
  TestTensors tensors = RandomTensors(config, /*seed=*/5);
  config.quantization = {Quantization::kFp8};
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    TestTensor& tensor = tensors[spec.name];
    const auto count = static_cast<size_t>(
        std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>()));
    if (spec.dtype == DType::kF8E4M3) {
      tensor = {DType::kF8E4M3, spec.shape, std::string(count, '\x7e')};
    } else if (spec.name.ends_with("_scale")) {
      tensor = Tensor(DType::kF32, spec.shape, std::vector<float>(count, 1.0f));
    }
  }
  const Status good = Load(tensors, config, Quantization::kFp8);
  EXPECT_TRUE(good.ok()) << good;
  for (const char nan : {'\x7f', '\xff'}) {
    TestTensors bad = tensors;
    // One of two tensors that become one matrix; TinyConfig() has 64 columns there.
    bad.at("model.layers.1.mlp.up_proj.weight").bytes[3 * 64 + 5] = nan;
    const Status status = Load(bad, config, Quantization::kFp8);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("tensor model.layers.1.mlp.up_proj.weight has NaN in row 3, column 5"));
  }
}

TEST_P(NanTest, NanThatWouldBecomeACodeIsRefusedByName) {
  const ModelConfig config = TinyConfig();
  TestTensors tensors = RandomTensors(config, /*seed=*/6);
  const Bf16 nan(std::numeric_limits<float>::quiet_NaN());
  std::memcpy(tensors.at("model.layers.0.self_attn.o_proj.weight").bytes.data() + 2 * 7, &nan, 2);
  EXPECT_THAT(std::string(Load(tensors, config, Quantization::kFp8).message()),
              HasSubstr("o_proj.weight has NaN in row 0, column 7"));
  if (GetParam() == "emulated") return;
  EXPECT_THAT(std::string(Load(tensors, config, Quantization::kInt8).message()),
              HasSubstr("o_proj.weight has NaN in row 0, column 7"));
}

INSTANTIATE_TEST_SUITE_P(Backends,
                         NanTest,
                         ::testing::Values("reference", "cpu", "emulated"),
                         [](const auto& info) { return info.param; });

TEST_F(CodeReaderTest, ACheckpointThatIsNotAsItsConfigSaysIsRefused) {
  ModelConfig config = TinyConfig();
  const Checkpoint& checkpoint = Open(RandomTensors(config, /*seed=*/4));
  config.quantization = {Quantization::kFp8};
  EXPECT_THAT(CheckTensors(checkpoint, config).message(),
              HasSubstr("q_proj.weight is bfloat16[64, 64]; expected float8_e4m3fn"));
  config.quantization = {Quantization::kAwq, 64};
  EXPECT_THAT(CheckTensors(checkpoint, config).message(),
              HasSubstr("has no tensor model.layers.0.self_attn.q_proj.qweight"));
}

}  // namespace
}  // namespace longhand::model
