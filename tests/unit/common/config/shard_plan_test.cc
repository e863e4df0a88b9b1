#include "common/config/shard_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand {
namespace {

using ::testing::HasSubstr;

ModelConfig Model7B() {
  ModelConfig config;
  config.hidden_size = 3584;
  config.intermediate_size = 18944;
  config.num_layers = 28;
  config.num_heads = 28;
  config.num_kv_heads = 4;
  config.head_dim = 128;
  config.vocab_size = 152064;
  config.vision.hidden_size = 1280;
  return config;
}

ModelConfig Model72B() {
  ModelConfig config = Model7B();
  config.hidden_size = 8192;
  config.intermediate_size = 29568;
  config.num_layers = 80;
  config.num_heads = 64;
  config.num_kv_heads = 8;
  config.vision.intermediate_size = 3456;
  config.vision.out_hidden_size = 8192;
  return config;
}

// Parameters of the language models, as published; the 7B's ViT has 676,550,144.
constexpr int64_t k7BTextParams = 7'615'616'512;
constexpr int64_t k72BTextParams = 72'706'203'648;
constexpr int64_t k7BVisionParams = 676'550'144;

// Biases and norms are kept in f32, two bytes more each than bf16: per layer qkv bias and two
// norms.
int64_t TextVectorParams(const ModelConfig& config) {
  const int64_t qkv = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim;
  return config.num_layers * (qkv + 2 * config.hidden_size) + config.hidden_size;
}

TEST(ShardPlan, OneRankHoldsEveryParameter) {
  for (const auto& [config, params] :
       {std::pair(Model7B(), k7BTextParams), std::pair(Model72B(), k72BTextParams)}) {
    const auto plan = PlanShards(config, 1, DType::kBf16, DType::kBf16);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->ranks[0].text_weight_bytes, 2 * params + 2 * TextVectorParams(config));
  }
  const auto plan = PlanShards(Model7B(), 1, DType::kF32, DType::kF32);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // In each of 32 blocks the MLP's 3420 are padded to 3456: three matrices and two biases.
  const int64_t padded_vision = k7BVisionParams + 32 * 36 * (3 * 1280 + 2);
  EXPECT_EQ(plan->ranks[0].vision_weight_bytes, 4 * padded_vision);
  EXPECT_EQ(plan->ranks[0].weight_bytes, 4 * (k7BTextParams + padded_vision));
}

TEST(ShardPlan, The72BSplitsOverEightRanks) {
  for (const int32_t tp_size : {1, 2, 4, 8}) {
    const auto plan = PlanShards(Model72B(), tp_size, DType::kBf16, DType::kBf16);
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_EQ(static_cast<int32_t>(plan->ranks.size()), tp_size);
    for (const RankShard& shard : plan->ranks) {
      EXPECT_EQ(shard.heads.size(), 64 / tp_size);
      EXPECT_EQ(shard.kv_heads.size(), 8 / tp_size);
      EXPECT_EQ(shard.ffn.size(), 29568 / tp_size);
      EXPECT_EQ(shard.vocab.size(), 152064 / tp_size);
      EXPECT_EQ(shard.kv_bytes_per_token, 327680 / tp_size);
      // Norms are on every rank, everything else once.
      const int64_t norms = (80 * 2 + 1) * 8192 * 4;
      EXPECT_EQ((shard.text_weight_bytes - norms) * tp_size,
                2 * k72BTextParams + 2 * TextVectorParams(Model72B()) - norms);
    }
    EXPECT_EQ(plan->ranks.back().heads.end, 64);
    EXPECT_EQ(plan->ranks.back().vocab.end, 152064);
  }
}

// A layer of the 72B has 877,684,736 parameters, 26,624 of them biases and norms, which stay f32;
// four matrices of 10240, 8192, 59136 and 8192 outputs. int8 has a scale for each output and 32
// inputs, and the head too.
TEST(ShardPlan, QuantizedLayersHaveCodesAndScales) {
  const int64_t rest = 2 * (k72BTextParams - 80 * int64_t{877'684'736}) + 2 * 8192;
  const int64_t vectors = 80 * 26'624 * 4, matrices = 80 * int64_t{877'658'112};
  const auto bytes = [](Quantization quantization) {
    return PlanShards(Model72B(), 1, DType::kBf16, DType::kBf16, quantization)
        .value()
        .ranks[0]
        .text_weight_bytes;
  };
  EXPECT_EQ(bytes(Quantization::kFp8),
            rest + vectors + matrices + 80 * (10240 + 8192 + 59136 + 8192) * 4);
  const int64_t head = int64_t{152'064} * 8192;
  EXPECT_EQ(bytes(Quantization::kInt8),
            rest + vectors + (80 * int64_t{877'658'112} + head) / 32 * 34 - 2 * head);
  ModelConfig config = Model72B();
  config.quantization = {Quantization::kAwq, 128};
  const auto plan = PlanShards(config, 1, DType::kBf16, DType::kBf16, Quantization::kAwq);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->ranks[0].text_weight_bytes,
            rest + vectors + matrices / 2 + matrices / 128 * 2 + matrices / 256);
}

TEST(ShardPlan, AwqShardsMayHalveGroupsButNoMore) {
  ModelConfig config = Model72B();
  config.quantization = {Quantization::kAwq, 128};
  // 14784 columns a rank are 115.5 groups.
  EXPECT_TRUE(PlanShards(config, 2, DType::kBf16, DType::kBf16, Quantization::kAwq).ok());
  EXPECT_EQ(
      PlanShards(config, 4, DType::kBf16, DType::kBf16, Quantization::kAwq).status().message(),
      "tensor_parallel_size 4 cannot split this AWQ model: 7392 MLP columns on each rank are no "
      "multiple of 64");
}

TEST(ShardPlan, The7BSplitsOverFourRanks) {
  for (const int32_t tp_size : {1, 2, 4}) {
    const auto plan = PlanShards(Model7B(), tp_size, DType::kBf16, DType::kBf16);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->ranks[0].kv_bytes_per_token, 57344 / tp_size);
  }
}

TEST(ShardPlan, The7BRefusesEightRanksNamingTheHeads) {
  const auto plan = PlanShards(Model7B(), 8, DType::kBf16, DType::kBf16);
  EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(plan.status().message(),
            "tensor_parallel_size 8 cannot split this model: 28 attention heads "
            "(num_attention_heads) are not divisible by 8");
}

TEST(ShardPlan, RefusesWhatCannotBeSplit) {
  ModelConfig config = Model72B();
  EXPECT_THAT(PlanShards(config, 0, DType::kBf16, DType::kBf16).status().message(),
              HasSubstr("it must be at least 1"));
  config.intermediate_size = 29569;
  EXPECT_THAT(PlanShards(config, 2, DType::kBf16, DType::kBf16).status().message(),
              HasSubstr("29569 MLP columns (intermediate_size) are not divisible by 2"));
  config = Model72B();
  config.num_heads = 12;
  config.num_kv_heads = 4;
  EXPECT_THAT(PlanShards(config, 6, DType::kBf16, DType::kBf16).status().message(),
              HasSubstr("4 KV heads (num_key_value_heads) are neither divisible by 6"));
  config = Model72B();
  config.vocab_size = 9;
  EXPECT_THAT(PlanShards(config, 8, DType::kBf16, DType::kBf16).status().message(),
              HasSubstr("9 vocabulary rows leave a rank without any"));
}

TEST(ShardPlan, KvHeadsAreReplicatedWhenThereAreMoreRanks) {
  ModelConfig config = Model72B();
  config.num_kv_heads = 2;
  const auto plan = PlanShards(config, 8, DType::kBf16, DType::kBf16);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (int32_t rank = 0; rank < 8; ++rank) {
    EXPECT_EQ(plan->ranks[rank].kv_heads, (IndexRange{rank / 4, rank / 4 + 1}));
    // A rank's query heads attend to the KV head that it holds.
    EXPECT_EQ(plan->ranks[rank].heads.begin / 32, rank / 4);
  }
  EXPECT_EQ(plan->ranks[0].kv_bytes_per_token, 80 * 2 * 128 * 2);
}

TEST(ShardPlan, AnUnevenVocabularyIsPaddedOnTheLastRank) {
  ModelConfig config = Model72B();
  config.vocab_size = 10;
  const auto plan = PlanShards(config, 4, DType::kBf16, DType::kBf16);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->padded_vocab_rows, 3);
  EXPECT_EQ(plan->ranks[2].vocab, (IndexRange{6, 9}));
  EXPECT_EQ(plan->ranks[3].vocab, (IndexRange{9, 10}));
}

TEST(ShardPlan, KvTokensAreWholeBlocksThatFitOnEveryRank) {
  const auto plan = PlanShards(Model72B(), 2, DType::kBf16, DType::kBf16);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->KvTokens(163840 * 16 * 3 + 163840 * 15, 16), 48);
  EXPECT_EQ(plan->KvTokens(0, 16), 0);
}

TEST(ShardPlan, WeightsOnDiskAreWidenedOnlyWhereThatAddsExactness) {
  EXPECT_EQ(WeightDType(DType::kBf16, DType::kF32), DType::kBf16);
  EXPECT_EQ(WeightDType(DType::kF32, DType::kF32), DType::kF32);
  EXPECT_EQ(WeightDType(DType::kF16, DType::kF32), DType::kF32);
  EXPECT_EQ(WeightDType(DType::kF32, DType::kBf16), DType::kBf16);
}

}  // namespace
}  // namespace longhand
