// Decode steps on the emulated CUDA backend: what they launch, and what they read.
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/emulation/grid.h"
#include "tests/unit/worker/comm/rank_group.h"
#include "tests/unit/worker/runner/runner_harness.h"
#include "worker/comm/single_rank.h"

namespace longhand::runner {
namespace {

constexpr uint32_t kSeed = 17;

class DecodeStepTest : public ::testing::TestWithParam<DType> {
 protected:
  DecodeStepTest() {
    config_.dtype = GetParam();
    config_.kv_dtype = GetParam();
    config_.max_model_len = 512;
    config_.num_blocks = 192;
    auto ops = kernels::CreateEmulatedOps();
    LONGHAND_CHECK(ops.ok()) << ops.status();
    ops_ = std::move(ops).value();
    Load();
  }
  void Load() {
    auto runner = ModelRunner::Create(config_, *ops_, communicator_, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    runner_ = std::move(runner).value();
  }
  int64_t LaunchesOfALayer() {
    std::map<std::string, int64_t> launches;  // when that was observed
    runner_->SetObserver([&](const model::Observation& observation) {
      launches[std::string(observation.name)] = ops_->num_launches();
    });
    RunAlone(*runner_, MakePlans({MakeAnswer(1, 20, 0), MakeAnswer(2, 30, 20)}, 64));
    return launches["lm/layer1"] - launches["lm/layer0"];
  }

  const TinyCheckpoint checkpoint_{kSeed};
  RunnerConfig config_ = checkpoint_.Config();
  comm::SingleRankCommunicator communicator_;
  std::unique_ptr<kernels::CudaOps> ops_;
  std::unique_ptr<ModelRunner> runner_;
};

INSTANTIATE_TEST_SUITE_P(DTypes,
                         DecodeStepTest,
                         ::testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& info) { return std::string(DTypeName(info.param)); });

// Norm, qkv, rope and cache write, attention, o, norm, gate-up, down.
TEST_P(DecodeStepTest, ALayerIsEightLaunches) { EXPECT_EQ(LaunchesOfALayer(), 8); }

// And o's and down's rows are rounded. Norms round theirs themselves.
TEST_P(DecodeStepTest, ALayerInFp8IsTenLaunches) {
  if (GetParam() == DType::kF32) GTEST_SKIP() << "weights of codes are for bf16 activations";
  config_.quantization = Quantization::kFp8;
  Load();
  EXPECT_EQ(LaunchesOfALayer(), 10);
}

// By the difference that a layer makes to whole steps, for an observer would make the decoder sum
// and norm apart. Of rank 0, whose neighbour's count is the same.
int64_t LaunchesOfAStep(int64_t num_layers, int num_ranks, DType dtype, Quantization quantization) {
  const TinyCheckpoint checkpoint(kSeed, num_layers);
  RunnerConfig config = checkpoint.Config();
  config.dtype = config.kv_dtype = dtype;
  config.quantization = quantization;
  const auto transport =
      num_ranks == 1 ? comm::TestTransport::kSingle : comm::TestTransport::kPeers;
  comm::RankGroup group({transport, num_ranks}, std::chrono::seconds(60));
  int64_t launches = 0;
  group.Run([&](comm::Communicator& communicator) {
    const auto own = kernels::CreateEmulatedOps();
    LONGHAND_CHECK(own.ok()) << own.status();
    kernels::CudaOps& ops = num_ranks == 1 ? **own : group.ops(communicator.rank());
    auto runner = ModelRunner::Create(config, ops, communicator, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    (*runner)->ReplaySteps(false);
    std::vector<StepPlan> plans = MakePlans({MakeAnswer(1, 20, 0), MakeAnswer(2, 30, 20)}, 64);
    const StepPlan last = plans.back();
    plans.pop_back();
    RunAlone(**runner, plans);
    const int64_t before = ops.num_launches();
    RunAlone(**runner, {last});
    if (communicator.rank() == 0) launches = ops.num_launches() - before;
  });
  return launches;
}

int64_t LaunchesOfALayer(int num_ranks,
                         DType dtype,
                         Quantization quantization = Quantization::kNone) {
  return LaunchesOfAStep(3, num_ranks, dtype, quantization) -
         LaunchesOfAStep(2, num_ranks, dtype, quantization);
}

// The sums over ranks are in the launches of the norms.
TEST(DecodeStep, ALayerIsEightLaunchesOnTwoRanksToo) {
  if (!comm::kHasEmulatedDevices) GTEST_SKIP() << "emulated devices are fibers";
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    EXPECT_EQ(LaunchesOfALayer(1, dtype), 8) << DTypeName(dtype);
    EXPECT_EQ(LaunchesOfALayer(2, dtype), 8) << DTypeName(dtype);
  }
  EXPECT_EQ(LaunchesOfALayer(2, DType::kBf16, Quantization::kFp8), 10);
}

// Two answers to one prompt. The second has the first's blocks, as with n = 2, or blocks of its
// own.
class SharedPrefixTest : public DecodeStepTest {
 protected:
  static constexpr int kPrompt = 300, kShared = 288;  // keys: 72 blocks

  struct Run {
    std::vector<std::vector<int32_t>> token_ids;
    int64_t bytes_copied = 0;  // by decode steps
  };

  static Answer Second(const Answer& first, int32_t own_block, bool shares) {
    Answer second = MakeAnswer(2, kPrompt, own_block);
    second.prompt = first.prompt;
    if (shares) std::copy_n(first.blocks.begin(), kShared / 4, second.blocks.begin());
    return second;
  }

  Run RunBoth(bool shares) {
    const Answer first = MakeAnswer(1, kPrompt, 0);
    const Answer second = Second(first, 100, shares);
    std::vector<StepPlan> plans = MakePlans({first}, 60);
    plans.resize(kPrompt / 60);  // its prompt
    std::vector<StepPlan> rest = MakePlans({second}, 60);
    if (shares) {
      SequenceChunk chunk = MakeChunk(second, kShared, kPrompt);
      chunk.start = rest[0].chunks[0].start;
      chunk.first_block_idx = 0;
      chunk.new_block_ids.assign(second.blocks.begin(), second.blocks.begin() + kPrompt / 4);
      plans.push_back({.chunks = {chunk}});
    } else {
      plans.insert(plans.end(), rest.begin(), rest.begin() + kPrompt / 60);
    }
    const size_t first_decode = plans.size();
    for (int i = 0; i < kSteps; ++i) {
      plans.push_back({.chunks = {MakeChunk(first, kPrompt + i, kPrompt + i + 1),
                                  MakeChunk(second, kPrompt + i, kPrompt + i + 1)}});
    }
    Run run;
    for (size_t i = 0; i < plans.size(); ++i) {
      plans[i].step = static_cast<int64_t>(i) + 1;
      const int64_t before = kernels::emulation::t_bytes_copied;
      const StepResult result = runner_->Execute(plans[i]);
      LONGHAND_CHECK(result.status.ok()) << result.status;
      if (i < first_decode) continue;
      run.bytes_copied += kernels::emulation::t_bytes_copied - before;
      for (const SequenceResult& sequence : result.sequences) {
        run.token_ids.push_back({sequence.tokens.at(0).token_id});
      }
    }
    return run;
  }

  static constexpr int kSteps = 6;
};

INSTANTIATE_TEST_SUITE_P(DTypes,
                         SharedPrefixTest,
                         ::testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& info) { return std::string(DTypeName(info.param)); });

TEST_P(SharedPrefixTest, KeysOfBothAreReadOnceAndTheTokensAreTheSame) {
  const Run shared = RunBoth(true);
  Load();
  const Run alone = RunBoth(false);
  EXPECT_EQ(shared.token_ids, alone.token_ids);
  // Of 288 keys the first 256 are a split: 2 layers, 2 KV heads of 16, keys and values.
  EXPECT_EQ(alone.bytes_copied - shared.bytes_copied,
            kSteps * 2 * 2 * 2 * 256 * 16 * static_cast<int64_t>(DTypeSize(GetParam())));
}

}  // namespace
}  // namespace longhand::runner
