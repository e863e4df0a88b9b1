#include "coordinator/cluster/capacity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::cluster {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kGib = int64_t{1} << 30;

// The published 7B.
ModelConfig Model7B() {
  ModelConfig model;
  model.hidden_size = 3584;
  model.intermediate_size = 18944;
  model.num_layers = 28;
  model.num_heads = 28;
  model.num_kv_heads = 4;
  model.head_dim = 128;
  model.vocab_size = 152064;
  model.max_position_embeddings = 128000;
  model.rope.mrope_section = {16, 24, 24};
  model.vision.hidden_size = 1280;
  model.vision.out_hidden_size = 3584;
  return model;
}

constexpr int64_t kKvBytesPerToken =
    2 * 28 * 4 * 128 * 2;  // keys and values, layers, heads, dims, bf16
constexpr int64_t kMaxPixels = 1048576;
constexpr int64_t kHostBytes = 8 * kGib;

TEST(Capacity, TheDefaultCacheTakesAQuarterOfWhatTheWeightsLeave) {
  const Result<Capacity> capacity = PlanCapacity({}, Model7B(), kMaxPixels, 24 * kGib, kHostBytes);
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  const int64_t left = 24 * kGib - capacity->shards.ranks[0].weight_bytes;
  EXPECT_GT(left, 7 * kGib);
  EXPECT_EQ(capacity->num_blocks, left / 4 / (16 * kKvBytesPerToken));
  EXPECT_EQ(capacity->max_model_len, capacity->kv_tokens());  // Fewer than the checkpoint allows.
  EXPECT_EQ(capacity->max_patches_per_image, 1337 * 4);
}

// A token is as many pixels as its patches have.
TEST(Capacity, PicturesHaveThePatchesOfTheModel) {
  ModelConfig model = Model7B();
  model.vision.patch_size = 16;
  model.vision.spatial_merge_size = 1;
  const Result<Capacity> capacity =
      PlanCapacity({.max_num_batched_tokens = 512}, model, 256 * 1000, 24 * kGib, kHostBytes);
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  EXPECT_EQ(capacity->max_patches_per_image, 1000);
  EXPECT_EQ(capacity->encoder_cache_tokens, 2000);
  EXPECT_EQ(capacity->image_bytes, 2 * 2000 * 256 * 3);
}

// An element is one byte, and each token and head has a scale of four.
TEST(Capacity, ACacheIn8BitsHasItsScales) {
  for (const char* const dtype : {"int8", "fp8"}) {
    const Result<Capacity> capacity =
        PlanShape({.device = "cuda", .kv_cache_dtype = dtype}, Model7B());
    ASSERT_TRUE(capacity.ok()) << capacity.status();
    EXPECT_EQ(capacity->shards.ranks[0].kv_bytes_per_token, 2 * 28 * 4 * (128 + 4)) << dtype;
  }
}

TEST(Capacity, AnFp8CacheOnACpuIsRefused) {
  EXPECT_EQ(PlanShape({.device = "cpu", .kv_cache_dtype = "fp8"}, Model7B()).status().message(),
            "--kv-cache-dtype is fp8; on --device cpu it may be auto, float32, bfloat16 or int8");
}

TEST(Capacity, HeadsThatAGpuHasNoKernelsForAreRefused) {
  ModelConfig model = Model7B();
  EXPECT_EQ(PlanShape({.device = "cuda"}, model).status(), OkStatus());
  model.vision.num_heads = 32;
  EXPECT_EQ(PlanShape({.device = "cpu"}, model).status(), OkStatus());
  EXPECT_EQ(PlanShape({.device = "cuda", .dtype = "float32"}, model).status(), OkStatus());
  EXPECT_EQ(
      PlanShape({.device = "cuda"}, model).status().message(),
      "the image encoder's heads have 40 elements; in bfloat16 on --device cuda they may have "
      "16, 32, 64, 80 or 128");
}

TEST(Capacity, WithMemoryToSpareTheCacheHoldsWhatSequencesCanUse) {
  const Result<Capacity> capacity =
      PlanCapacity({.max_num_seqs = 2}, Model7B(), kMaxPixels, 1024 * kGib, kHostBytes);
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  EXPECT_EQ(capacity->kv_tokens(), 2 * 128000);
  EXPECT_EQ(capacity->max_model_len, 128000);
}

TEST(Capacity, ACacheOfGivenBytesIsCutIntoWholeBlocks) {
  const ServeOptions options{.kv_cache_memory_bytes = kGib, .block_size = 32};
  const Result<Capacity> capacity =
      PlanCapacity(options, Model7B(), kMaxPixels, 24 * kGib, kHostBytes);
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  EXPECT_EQ(capacity->num_blocks, kGib / (32 * kKvBytesPerToken));
  EXPECT_LE(capacity->kv_cache_bytes(0), kGib);
}

TEST(Capacity, SwapSpaceIsCutIntoBlocksOfHostMemory) {
  const ServeOptions options{.kv_cache_memory_bytes = kGib, .swap_space = 3 * kGib};
  const Result<Capacity> cpu = PlanCapacity(options, Model7B(), kMaxPixels, 24 * kGib, 0);
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  EXPECT_EQ(cpu->num_host_blocks, 3 * kGib / (16 * kKvBytesPerToken));
  EXPECT_EQ(cpu->num_blocks, kGib / (16 * kKvBytesPerToken));
  // It is taken from what the cache is chosen from.
  const ServeOptions chosen{.swap_space = 4 * kGib};
  const Result<Capacity> less = PlanCapacity(chosen, Model7B(), kMaxPixels, 24 * kGib, 0);
  ASSERT_TRUE(less.ok()) << less.status();
  EXPECT_EQ(less->num_blocks,
            (20 * kGib - less->shards.ranks[0].weight_bytes) / 4 / (16 * kKvBytesPerToken));
}

TEST(Capacity, SwapSpaceThatDoesNotFitIsRefused) {
  const auto message = [](const ServeOptions& options) {
    return PlanCapacity(options, Model7B(), kMaxPixels, 24 * kGib, kHostBytes).status().message();
  };
  EXPECT_EQ(
      message({.swap_space = 20 * kGib}),
      "--swap-space is 20.00 GiB on each rank; beside weights of 15.46 GiB there are 8.54 GiB");
  EXPECT_EQ(message({.swap_space = 1000}), "--swap-space is 1000 bytes; a KV block takes 917504");
  EXPECT_EQ(message({.device = "cuda", .swap_space = 9 * kGib}),
            "--swap-space is 9.00 GiB on each rank; its host has 8.00 GiB for it");
  // A GPU's memory is not host memory.
  EXPECT_EQ(message({.device = "cuda", .swap_space = 8 * kGib}), "");
}

TEST(Capacity, RefusalsNameTheNumbers) {
  const Status weights = PlanCapacity({}, Model7B(), kMaxPixels, 8 * kGib, kHostBytes).status();
  EXPECT_EQ(weights.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(weights.message(), HasSubstr("8.00 GiB"));

  const ServeOptions large{.kv_cache_memory_bytes = 12 * kGib};
  EXPECT_THAT(PlanCapacity(large, Model7B(), kMaxPixels, 24 * kGib, kHostBytes).status().message(),
              HasSubstr("12.00 GiB"));

  const ServeOptions long_context{.max_model_len = 100000, .kv_cache_memory_bytes = kGib};
  const Status context =
      PlanCapacity(long_context, Model7B(), kMaxPixels, 24 * kGib, kHostBytes).status();
  EXPECT_EQ(context.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(context.message(),
              HasSubstr("--max-model-len is 100000; the largest that works is 18720"));

  EXPECT_EQ(
      PlanCapacity({.kv_cache_memory_bytes = 100}, Model7B(), kMaxPixels, 24 * kGib, kHostBytes)
          .status()
          .message(),
      "a KV block takes 917504 bytes on each rank, and the KV cache has 100; "
      "--kv-cache-memory-bytes sets them");

  EXPECT_EQ(PlanShape({.tensor_parallel_size = 8}, Model7B()).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longhand::cluster
