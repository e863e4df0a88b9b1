// Decode steps over several ranks, recorded with their collectives: the bits of steps that are not,
// and of ranks that exchange another way.
#include <gtest/gtest.h>

#include <chrono>

#include "tests/unit/worker/comm/rank_group.h"
#include "tests/unit/worker/runner/runner_harness.h"

namespace longhand::runner {
namespace {

using comm::TestTransport;

class PeerReplayTest : public ::testing::Test {
 protected:
  static std::vector<Answer> Answers() {
    std::vector<Answer> answers;
    for (int i = 0; i < 3; ++i) {
      Answer answer = MakeAnswer(i + 1, 5 + 7 * i, 16 * i);
      answer.num_new = 8;
      answer.sampling.num_logprobs = -1;
      answers.push_back(std::move(answer));
    }
    answers[1].sampling = {.temperature = 1.0f, .top_p = 0.9f, .seed = 5};
    answers[2].sampling = {.temperature = 0.8f, .top_k = 30, .repetition_penalty = 1.3f, .seed = 6};
    return answers;
  }

  struct Types {
    DType dtype;
    Quantization quantization = Quantization::kNone;
  };
  struct Run {
    std::vector<Sampled> sampled;
    std::vector<float> logits;  // rank 0's of the last step
    int64_t replays = 0;        // of rank 0
    int64_t peer_bytes = 0;     // of the memory table
    int64_t planned_bytes = 0;  // the same of all device memory
    int64_t taken_bytes = 0;
  };
  Run RunAnswers(TestTransport transport, int num_ranks, const Types& types, bool replay) const {
    RunnerConfig config = checkpoint_.Config();
    config.dtype = config.kv_dtype = types.dtype;
    config.quantization = types.quantization;
    comm::RankGroup group({transport, num_ranks}, std::chrono::seconds(60));
    Run run;
    group.Run([&](comm::Communicator& communicator) {
      auto own = kernels::CreateEmulatedOps();
      LONGHAND_CHECK(own.ok()) << own.status();
      kernels::CudaOps& ops =
          transport == TestTransport::kPeers ? group.ops(communicator.rank()) : **own;
      auto runner = ModelRunner::Create(config, ops, communicator, {});
      LONGHAND_CHECK(runner.ok()) << runner.status();
      (*runner)->ReplaySteps(replay);
      const std::vector<StepResult> results = RunAlone(**runner, MakePlans(Answers(), 12));
      if (communicator.rank() != 0) return;
      for (const Answer& answer : Answers()) {
        run.sampled.push_back(SampledFor(answer.sequence_id, results));
      }
      const TensorView logits = (*runner)->LastLogits();
      run.logits.assign(logits.as<float>(), logits.as<float>() + logits.num_elements());
      run.replays = ops.num_replays();
      for (const auto& part : (*runner)->memory().parts) {
        if (part.name == "exchange between ranks") run.peer_bytes = part.bytes;
        if (part.place == model::MemoryBudget::Place::kDevice) run.planned_bytes += part.bytes;
      }
      run.taken_bytes = ops.device_memory().now;
    });
    return run;
  }

  const TinyCheckpoint checkpoint_{/*seed=*/31};
};

TEST_F(PeerReplayTest, ReplayedStepsOfSeveralRanksGiveTheBitsOfStepsThatRunAsTheyAre) {
  if (!comm::kHasEmulatedDevices) GTEST_SKIP() << "emulated devices are fibers";
  // In fp8 the sum that ends in a norm also rounds.
  for (const Types& types :
       {Types{DType::kF32}, {DType::kBf16}, {DType::kBf16, Quantization::kFp8}}) {
    const Run replayed = RunAnswers(TestTransport::kPeers, 2, types, true);
    const Run eager = RunAnswers(TestTransport::kPeers, 2, types, false);
    const Run shared = RunAnswers(TestTransport::kSharedMemory, 2, types, true);
    EXPECT_GT(replayed.replays, 3);
    EXPECT_EQ(eager.replays, 0);
    EXPECT_EQ(shared.replays, 0);
    EXPECT_EQ(replayed.sampled, eager.sampled);
    EXPECT_EQ(replayed.sampled, shared.sampled);
    EXPECT_EQ(replayed.logits, eager.logits);
    EXPECT_EQ(replayed.logits, shared.logits);
    EXPECT_GT(replayed.peer_bytes, 1 << 20);
    EXPECT_EQ(shared.peer_bytes, 0);
    EXPECT_EQ(replayed.taken_bytes, replayed.planned_bytes);
  }
}

}  // namespace
}  // namespace longhand::runner
