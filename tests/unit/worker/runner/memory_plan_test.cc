// The memory table against what is allocated: on the emulated CUDA backend every byte is counted.
#include "worker/runner/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "tests/testing/tiny_adapter.h"
#include "tests/testing/tiny_model.h"
#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

using Place = model::MemoryBudget::Place;

int64_t BytesIn(const model::MemoryBudget& memory, Place place) {
  int64_t bytes = 0;
  for (const auto& part : memory.parts) bytes += part.place == place ? part.bytes : 0;
  return bytes;
}

struct Case {
  const char* name;
  DType dtype = DType::kBf16;
  DType kv_dtype = DType::kBf16;
  Quantization quantization = Quantization::kNone;
  kernels::EmulationOptions device = {};
  int64_t max_loras = 0;
};

class MemoryPlanTest : public ::testing::TestWithParam<Case> {
 protected:
  // Down projections that are summed in two parts of k, and a cache that is larger than what
  // trials take.
  MemoryPlanTest() {
    ModelConfig model = testing::TinyConfig();
    model.intermediate_size = 1088;
    testing::WriteSafetensors(directory_ / "model.safetensors",
                              testing::RandomTensors(model, /*seed=*/23));
    model.directory = directory_.path();
    config_ = {.model = model,
               .dtype = GetParam().dtype,
               .kv_dtype = GetParam().kv_dtype,
               .quantization = GetParam().quantization,
               .num_blocks = 4096,
               .num_host_blocks = 3,
               .block_size = 4,
               .max_num_batched_tokens = 96,
               .max_num_seqs = 8,
               .max_model_len = 512,
               .encoder_cache_tokens = 32,
               .image_bytes = 100'000,
               .max_patches_per_image = 64,
               .max_loras = GetParam().max_loras,
               .max_lora_rank = 5};
  }

  // Gives sequence 1 and the image an adapter, where there is room for one.
  void TakeAdapter(ModelRunner& runner, std::vector<StepPlan>* plans) const {
    if (config_.max_loras == 0) return;
    testing::WriteAdapter(directory_ / "adapter", config_.model, {.rank = 5});
    ASSERT_EQ(runner.LoadAdapter(1, "adapter", directory_ / "adapter"), OkStatus());
    for (StepPlan& plan : *plans) {
      for (EncodeImageItem& image : plan.images) image.adapter = 1;
      for (SequenceChunk& chunk : plan.chunks) {
        if (chunk.sequence_id == 1 && !chunk.start.empty()) chunk.start[0].adapter = 1;
      }
    }
  }

  // Prefill, decode over several splits of keys, penalties, biases, scores, and an image.
  static std::vector<StepPlan> Plans(const ContentHash& image) {
    std::vector<Answer> answers = {MakeAnswer(1, 300, 0), MakeAnswer(2, 5, 80),
                                   MakeAnswer(3, 14, 100), MakeAnswer(4, 20, 120)};
    answers[1].sampling = {.temperature = 1.0f, .top_p = 0.9f, .seed = 5, .num_logprobs = 0};
    answers[2].sampling = {.temperature = 0, .repetition_penalty = 1.5f, .num_logprobs = 3};
    for (Answer& answer : answers) {
      for (int32_t id = 0; id < testing::TinyConfig().vocab_size; ++id)
        answer.biases.push_back({id, 0.25f * static_cast<float>(id % 7)});
    }
    answers[3].prompt.assign(20, 90);
    answers[3].images = {{.offset = 4, .num_tokens = 12, .cache_row = 5}};
    std::vector<StepPlan> plans = MakePlans(answers, /*chunk=*/24);
    plans[0].images = {
        {.image = image, .rank = 0, .layer_begin = 0, .layer_end = 2, .cache_row = 5}};
    plans[0].chunks[1].score_token_ids.assign(5, 7);
    plans[2].swaps_out = {{0, 1}};
    plans[2].block_copies = {{0, 400}};
    return plans;
  }

  const testing::TempDirectory directory_;
  RunnerConfig config_;
};

INSTANTIATE_TEST_SUITE_P(
    Types,
    MemoryPlanTest,
    ::testing::Values(
        Case{"Float32", DType::kF32, DType::kF32},
        Case{"Bfloat16"},
        // A device with wgmma, which is tried.
        Case{"Bfloat16OnHopper",
             DType::kBf16,
             DType::kBf16,
             Quantization::kNone,
             {.schedule_seed = 3}},
        Case{"Fp8OnHopper", DType::kBf16, DType::kF8E4M3, Quantization::kFp8, {.schedule_seed = 3}},
        Case{"Fp8ThatIsWidened",
             DType::kBf16,
             DType::kI8,
             Quantization::kFp8,
             {.multiplies_fp8 = false}},
        Case{"Adapters", DType::kBf16, DType::kBf16, Quantization::kNone, {}, /*max_loras=*/3},
        Case{"AdaptersBesideFp8",
             DType::kBf16,
             DType::kF8E4M3,
             Quantization::kFp8,
             {},
             /*max_loras=*/3}),
    [](const auto& info) { return info.param.name; });

TEST_P(MemoryPlanTest, TheTableHasEveryByteThatIsTaken) {
  auto ops = kernels::CreateEmulatedOps(GetParam().device);
  ASSERT_TRUE(ops.ok()) << ops.status();
  comm::SingleRankCommunicator communicator;
  auto runner = ModelRunner::Create(config_, **ops, communicator, {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  const model::MemoryBudget& memory = (*runner)->memory();
  const std::string table = model::ToTable(memory);
  EXPECT_EQ((*ops)->device_memory().now, BytesIn(memory, Place::kDevice)) << table;
  // What is only tried out, or staged for a weight, never takes more.
  EXPECT_EQ((*ops)->device_memory().most, (*ops)->device_memory().now) << table;
  EXPECT_EQ((*ops)->staging_memory().now, BytesIn(memory, Place::kHost) - config_.image_bytes)
      << table;
}

TEST_P(MemoryPlanTest, StepsTakeNothing) {
  auto ops = kernels::CreateEmulatedOps(GetParam().device);
  ASSERT_TRUE(ops.ok()) << ops.status();
  comm::SingleRankCommunicator communicator;
  auto runner = ModelRunner::Create(config_, **ops, communicator, {});
  ASSERT_TRUE(runner.ok()) << runner.status();
  const int64_t at_start = (*ops)->num_allocations();
  EXPECT_GT(at_start, 0);
  const ContentHash image{7};
  ASSERT_EQ((*runner)->PutImage(image, 112, 84, std::vector<uint8_t>(112 * 84 * 3, 50)),
            OkStatus());
  std::vector<StepPlan> plans = Plans(image);
  TakeAdapter(**runner, &plans);
  RunAlone(**runner, plans);
  EXPECT_GT((*ops)->num_replays(), 0);
  EXPECT_EQ((*ops)->num_allocations(), at_start);
}

class AdapterRoomTest : public MemoryPlanTest {};

INSTANTIATE_TEST_SUITE_P(
    Types,
    AdapterRoomTest,
    ::testing::Values(Case{
        "Bfloat16", DType::kBf16, DType::kBf16, Quantization::kNone, {}, /*max_loras=*/3}),
    [](const auto& info) { return info.param.name; });

// Recorded steps count as often as they are recorded, and are replayed as often.
TEST_P(AdapterRoomTest, StepsWithoutAdaptersLaunchWhatTheyDidWithoutRoomForAny) {
  std::vector<int64_t> launches, replays;
  for (const int64_t max_loras : {int64_t{0}, config_.max_loras}) {
    auto ops = kernels::CreateEmulatedOps(GetParam().device);
    ASSERT_TRUE(ops.ok()) << ops.status();
    comm::SingleRankCommunicator communicator;
    RunnerConfig config = config_;
    config.max_loras = max_loras;
    auto runner = ModelRunner::Create(config, **ops, communicator, {});
    ASSERT_TRUE(runner.ok()) << runner.status();
    const ContentHash image{7};
    ASSERT_EQ((*runner)->PutImage(image, 112, 84, std::vector<uint8_t>(112 * 84 * 3, 50)),
              OkStatus());
    const int64_t at_start = (*ops)->num_launches();
    RunAlone(**runner, Plans(image));
    launches.push_back((*ops)->num_launches() - at_start);
    replays.push_back((*ops)->num_replays());
  }
  EXPECT_EQ(launches[1], launches[0]);
  EXPECT_EQ(replays[1], replays[0]);
}

TEST(MemoryLimitTest, PartsInOtherMemoryDoNotCount) {
  model::MemoryBudget memory{.parts = {}, .has_own_memory = true};
  memory.Add("KV cache", 1000);
  memory.Add("staging", 500, Place::kHost);
  memory.Add("CUDA", 300, Place::kLibraries);
  EXPECT_EQ(CheckMemory(memory, 1000), OkStatus());
  EXPECT_EQ(CheckMemory(memory, 0), OkStatus());
  EXPECT_EQ(CheckMemory(memory, 999).code(), StatusCode::kResourceExhausted);
  memory.has_own_memory = false;
  EXPECT_EQ(CheckMemory(memory, 1500), OkStatus());
  EXPECT_THAT(CheckMemory(memory, 1499).message(),
              ::testing::HasSubstr("needs 1500 bytes of memory and may take 1499, 1 fewer"));
}

}  // namespace
}  // namespace longhand::runner
