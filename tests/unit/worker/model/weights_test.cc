// Weights are looked at through the reference backend: y = x W^T with rows of the identity gives
// the columns back, exactly.
#include "worker/model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_model.h"
#include "worker/model/weight_reader.h"

namespace longhand::model {
namespace {

using ::testing::ElementsAre;
using testing::RandomTensors;
using testing::TempDirectory;
using testing::TestTensors;
using testing::TinyConfig;

class Weights : public ::testing::Test {
 protected:
  ModelWeights Load(const TestTensors& tensors,
                    int32_t tp_size,
                    int32_t rank,
                    DType dtype,
                    const ModelConfig& config = TinyConfig(),
                    Quantization quantization = Quantization::kNone) {
    const TempDirectory directory;
    WriteSafetensors(directory / "model.safetensors", tensors);
    auto checkpoint = Checkpoint::Open(directory.path());
    LONGHAND_CHECK(checkpoint.ok()) << checkpoint.status();
    auto weights = LoadWeights(*checkpoint, config, tp_size, rank, dtype, quantization, *ops_,
                               [this](int64_t done, int64_t total) {
                                 done_.push_back(done);
                                 total_ = total;
                               });
    LONGHAND_CHECK(weights.ok()) << weights.status();
    return std::move(weights).value();
  }

  // [out_columns, in_features]: of a plain weight its elements.
  std::vector<float> Unpack(const kernels::PackedLinear& linear) {
    const int64_t in = linear.in_features();
    const int64_t out = linear.out_columns();
    std::vector<float> identity(static_cast<size_t>(in * in), 0.0f);
    for (int64_t i = 0; i < in; ++i) identity[static_cast<size_t>(i * in + i)] = 1.0f;
    std::vector<float> columns(static_cast<size_t>(in * out));
    const Status status = ops_->Linear({.x = TensorView(identity.data(), DType::kF32, {in, in}),
                                        .weight = &linear,
                                        .out = TensorView(columns.data(), DType::kF32, {in, out})});
    LONGHAND_CHECK(status.ok()) << status;
    std::vector<float> rows(columns.size());
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        rows[static_cast<size_t>(o * in + i)] = columns[static_cast<size_t>(i * out + o)];
      }
    }
    return rows;
  }

  std::unique_ptr<kernels::PackedLinear> Pack(
      std::vector<float> rows,
      int64_t columns,
      kernels::LinearLayout layout = kernels::LinearLayout::kPlain) {
    const auto size = static_cast<int64_t>(rows.size());
    auto packed =
        ops_->PackLinear(TensorView(rows.data(), DType::kF32, {size / columns, columns}), layout);
    LONGHAND_CHECK(packed.ok()) << packed.status();
    return std::move(packed).value();
  }

  // Of gates above ups.
  std::unique_ptr<kernels::PackedLinear> PackGateUp(std::vector<float> rows, int64_t columns) {
    return Pack(std::move(rows), columns, kernels::LinearLayout::kGateUp);
  }

  // Of a few rows that are always the same.
  std::vector<float> Mlp(const kernels::PackedLinear& gate_up,
                         std::vector<float> gate_up_bias,
                         const kernels::PackedLinear& down,
                         std::vector<float> down_bias) {
    constexpr int64_t kRows = 3;
    const int64_t ffn = down.in_features();
    const auto make = [](int64_t columns) { return std::vector<float>(kRows * columns); };
    const auto view = [](std::vector<float>& rows) {
      const auto size = static_cast<int64_t>(rows.size());
      return TensorView(rows.data(), DType::kF32, {kRows, size / kRows});
    };
    const auto vector_view = [](std::vector<float>& values) {
      return TensorView(values.data(), DType::kF32, {static_cast<int64_t>(values.size())});
    };
    std::vector<float> x = make(gate_up.in_features());
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
    std::vector<float> mid = make(ffn), out = make(down.out_features());
    Status status = ops_->Linear(
        {.x = view(x), .weight = &gate_up, .bias = vector_view(gate_up_bias), .out = view(mid)});
    LONGHAND_CHECK(status.ok()) << status;
    status = ops_->Linear(
        {.x = view(mid), .weight = &down, .bias = vector_view(down_bias), .out = view(out)});
    LONGHAND_CHECK(status.ok()) << status;
    return out;
  }

  const std::unique_ptr<kernels::Ops> ops_ = kernels::CreateReferenceOps();
  std::vector<int64_t> done_;
  int64_t total_ = 0;
};

std::vector<float> ViewToFloats(const TensorView& view) {
  const float* begin = view.as<float>();
  return {begin, begin + view.num_elements()};
}

// Rows [rows.begin, rows.end) and columns of a row-major matrix.
std::vector<float> Block(const testing::TestTensor& tensor, IndexRange rows, IndexRange columns) {
  const std::vector<float> all = ToFloats(tensor);
  const int64_t width = static_cast<int64_t>(all.size()) / tensor.shape[0];
  std::vector<float> out;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    out.insert(out.end(), all.begin() + row * width + columns.begin,
               all.begin() + row * width + columns.end);
  }
  return out;
}

std::vector<float> Concat(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(Weights, ARankHasItsSlicesFusedAndUnchanged) {
  const TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/2);
  const ModelWeights weights = Load(tensors, /*tp_size=*/2, /*rank=*/1, DType::kF32);
  const std::string prefix = "model.layers.1.";
  const auto at = [&](const char* name) { return tensors.at(prefix + name); };
  const IndexRange all = {0, 64};
  const LayerWeights& layer = weights.layers[1];
  EXPECT_EQ(Unpack(*layer.qkv),
            Concat(Block(at("self_attn.q_proj.weight"), {32, 64}, all),
                   Concat(Block(at("self_attn.k_proj.weight"), {16, 32}, all),
                          Block(at("self_attn.v_proj.weight"), {16, 32}, all))));
  EXPECT_EQ(ViewToFloats(layer.qkv_bias.view),
            Concat(Block(at("self_attn.q_proj.bias"), {32, 64}, {0, 1}),
                   Concat(Block(at("self_attn.k_proj.bias"), {16, 32}, {0, 1}),
                          Block(at("self_attn.v_proj.bias"), {16, 32}, {0, 1}))));
  EXPECT_EQ(Unpack(*layer.o), Block(at("self_attn.o_proj.weight"), all, {32, 64}));
  EXPECT_EQ(Unpack(*layer.gate_up),
            Unpack(*PackGateUp(Concat(Block(at("mlp.gate_proj.weight"), {24, 48}, all),
                                      Block(at("mlp.up_proj.weight"), {24, 48}, all)),
                               /*columns=*/64)));
  EXPECT_EQ(Unpack(*layer.down), Block(at("mlp.down_proj.weight"), all, {24, 48}));
  // The encoder is whole on every rank.
  EXPECT_EQ(Unpack(*weights.vision.blocks[1].qkv.weight),
            ToFloats(tensors.at("visual.blocks.1.attn.qkv.weight")));
  EXPECT_EQ(Unpack(*weights.vision.patch_embed),
            ToFloats(tensors.at("visual.patch_embed.proj.weight")));
}

// 98 rows over four ranks: 25, 25, 25 and 23.
TEST_F(Weights, TheLastRankPadsItsHeadWithZeros) {
  const TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/3);
  ModelConfig config = TinyConfig();
  const ModelWeights weights = Load(tensors, /*tp_size=*/4, /*rank=*/3, DType::kF32, config);
  EXPECT_EQ(weights.embedding.view.dim(0), 23);
  EXPECT_EQ(Unpack(*weights.head), Concat(Block(tensors.at("lm_head.weight"), {75, 98}, {0, 64}),
                                          std::vector<float>(2 * 64, 0.0f)));
}

// 36 become 64, so that zeros of gate times zeros of up meet zeros of down.
TEST_F(Weights, TheMlpOfTheEncoderIsPaddedWithZeros) {
  for (const DType on_disk : {DType::kBf16, DType::kF32}) {
    const TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/9, on_disk);
    const ModelWeights weights = Load(tensors, /*tp_size=*/2, /*rank=*/1, DType::kF32);
    const auto at = [&](const char* name) {
      return ToFloats(tensors.at("visual.blocks.1.mlp." + std::string(name)));
    };
    const auto zeros = [](size_t count) { return std::vector<float>(count, 0.0f); };
    const VisionBlockWeights& block = weights.vision.blocks[1];
    EXPECT_EQ(Unpack(*block.gate_up.weight),
              Unpack(*PackGateUp(Concat(Concat(at("gate_proj.weight"), zeros(28 * 32)),
                                        Concat(at("up_proj.weight"), zeros(28 * 32))),
                                 /*columns=*/32)));
    EXPECT_EQ(ViewToFloats(block.gate_up.bias.view), Concat(Concat(at("gate_proj.bias"), zeros(28)),
                                                            Concat(at("up_proj.bias"), zeros(28))));
    std::vector<float> down;
    for (int64_t row = 0; row < 32; ++row) {
      const testing::TestTensor& tensor = tensors.at("visual.blocks.1.mlp.down_proj.weight");
      down = Concat(Concat(down, Block(tensor, {row, row + 1}, {0, 36})), zeros(28));
    }
    EXPECT_EQ(Unpack(*block.down.weight), down);
    EXPECT_EQ(ViewToFloats(block.down.bias.view), at("down_proj.bias"));
  }
}

TEST_F(Weights, ThePaddedMlpOfTheEncoderGivesTheSameOutputs) {
  const TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/10);
  const ModelWeights weights = Load(tensors, 1, 0, DType::kF32);
  const auto at = [&](const char* name) {
    return ToFloats(tensors.at("visual.blocks.0.mlp." + std::string(name)));
  };
  const VisionBlockWeights& block = weights.vision.blocks[0];
  EXPECT_EQ(Mlp(*block.gate_up.weight, ViewToFloats(block.gate_up.bias.view), *block.down.weight,
                ViewToFloats(block.down.bias.view)),
            Mlp(*PackGateUp(Concat(at("gate_proj.weight"), at("up_proj.weight")), /*columns=*/32),
                Concat(at("gate_proj.bias"), at("up_proj.bias")),
                *Pack(at("down_proj.weight"), /*columns=*/36), at("down_proj.bias")));
}

TEST_F(Weights, ATiedHeadIsTheEmbedding) {
  ModelConfig config = TinyConfig();
  config.tie_word_embeddings = true;
  const TestTensors tensors = RandomTensors(config, /*seed=*/4);
  EXPECT_FALSE(tensors.contains("lm_head.weight"));
  const ModelWeights weights = Load(tensors, 1, 0, DType::kF32, config);
  EXPECT_EQ(Unpack(*weights.head), ToFloats(tensors.at("model.embed_tokens.weight")));
}

TEST_F(Weights, AHeadInTheFilesIsReadThoughTheConfigTiesIt) {
  ModelConfig config = TinyConfig();
  const TestTensors tensors = RandomTensors(config, /*seed=*/4);
  config.tie_word_embeddings = true;
  const ModelWeights weights = Load(tensors, 1, 0, DType::kF32, config);
  EXPECT_EQ(Unpack(*weights.head), ToFloats(tensors.at("lm_head.weight")));
}

TEST_F(Weights, Float32OnDiskIsKeptOrRoundedAsTheModelAsks) {
  const TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/5, DType::kF32);
  const std::vector<float> on_disk = ToFloats(tensors.at("model.layers.0.mlp.down_proj.weight"));
  EXPECT_EQ(Unpack(*Load(tensors, 1, 0, DType::kF32).layers[0].down), on_disk);
  std::vector<float> rounded;
  for (const float value : on_disk) rounded.push_back(static_cast<float>(Bf16(value)));
  EXPECT_NE(rounded, on_disk);
  EXPECT_EQ(Unpack(*Load(tensors, 1, 0, DType::kBf16).layers[0].down), rounded);
}

// 1, -2, the largest, the smallest subnormal and minus zero.
TEST_F(Weights, HalfPrecisionIsWidenedExactly) {
  TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/6);
  testing::TestTensor& norm = tensors["model.norm.weight"];
  const uint16_t half[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000};
  norm.dtype = DType::kF16;
  norm.bytes.replace(0, sizeof(half), reinterpret_cast<const char*>(half), sizeof(half));
  const ModelWeights weights = Load(tensors, 1, 0, DType::kF32);
  std::vector<float> first = ViewToFloats(weights.final_norm.view);
  first.resize(5);
  EXPECT_THAT(first, ElementsAre(1.0f, -2.0f, 65504.0f, 0x1.0p-24f, -0.0f));
}

// What the dry run prints is what is loaded.
TEST_F(Weights, ProgressEndsAtTheBytesOfTheShardPlan) {
  for (const int32_t tp_size : {1, 2, 4}) {
    for (const DType on_disk : {DType::kBf16, DType::kF32}) {
      done_.clear();
      const TestTensors tensors = RandomTensors(TinyConfig(), /*seed=*/7, on_disk);
      const ModelWeights weights = Load(tensors, tp_size, tp_size - 1, DType::kF32);
      EXPECT_EQ(total_, weights.shard.weight_bytes);
      EXPECT_EQ(done_.back(), total_);
      EXPECT_EQ(weights.bytes, total_);
      EXPECT_TRUE(std::is_sorted(done_.begin(), done_.end()));
    }
  }
}

TEST_F(Weights, AModelThatCannotBeSplitIsRefused) {
  const TempDirectory directory;
  WriteSafetensors(directory / "model.safetensors", RandomTensors(TinyConfig(), /*seed=*/8));
  auto checkpoint = Checkpoint::Open(directory.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto weights = LoadWeights(*checkpoint, TinyConfig(), /*tp_size=*/3, /*rank=*/0,
                                   DType::kF32, Quantization::kNone, *ops_, {});
  EXPECT_EQ(weights.status().code(), StatusCode::kInvalidArgument);
}

// A table of some GB takes a slow disk longer than a worker may go without progress.
TEST_F(Weights, ProgressIsToldWithinATensorToo) {
  constexpr int64_t kRows = 5, kColumns = int64_t{2} << 20, kBytes = kRows * kColumns * 4;
  const TempDirectory directory;
  const TestTensors tensors = {
      {"table", {DType::kF32, {kRows, kColumns}, std::string(kBytes, '\0')}}};
  WriteSafetensors(directory / "model.safetensors", tensors);
  const auto checkpoint = Checkpoint::Open(directory.path()).value();
  const LoadProgress progress = [this](int64_t done, int64_t) { done_.push_back(done); };
  for (const IndexRange columns : {IndexRange{}, IndexRange{0, kColumns / 2}}) {
    done_.clear();
    WeightReader reader(checkpoint, DType::kF32, Quantization::kNone, {}, kBytes, *ops_, progress,
                        /*num_threads=*/1);
    ASSERT_EQ(reader.Matrix({.name = "table", .columns = columns}).status(), OkStatus());
    const bool all = columns.size() == 0;
    EXPECT_EQ(done_,
              all ? std::vector<int64_t>({0, 0, kBytes}) : std::vector<int64_t>({0, kBytes / 2}));
  }
}

}  // namespace
}  // namespace longhand::model
