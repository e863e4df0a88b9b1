#include "tests/unit/worker/runner/runner_harness.h"

#include <algorithm>
#include <chrono>

#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/worker/comm/rank_group.h"

namespace longhand::runner {

TinyCheckpoint::TinyCheckpoint(uint32_t seed, int64_t num_layers) {
  model_.num_layers = num_layers;
  model_.directory = directory_.path();
  testing::WriteSafetensors(directory_ / "model.safetensors", testing::RandomTensors(model_, seed));
}

RunnerConfig TinyCheckpoint::Config() const {
  RunnerConfig config{.model = model_,
                      .dtype = DType::kF32,
                      .kv_dtype = DType::kF32,
                      .num_blocks = 64,
                      .block_size = 4,
                      .max_num_batched_tokens = 64,
                      .max_num_seqs = 8,
                      .max_model_len = 128,
                      .encoder_cache_tokens = 32,
                      .image_bytes = 100'000,
                      .max_patches_per_image = 64};
  return config;
}

std::unique_ptr<kernels::Ops> MakeOps(const std::string& backend) {
  if (backend == "reference") return kernels::CreateReferenceOps();
  if (backend == "emulated") {
    auto emulated = kernels::CreateEmulatedOps();
    LONGHAND_CHECK(emulated.ok()) << emulated.status();
    return std::move(emulated).value();
  }
  auto ops = kernels::CreateCpuOps(/*num_threads=*/2);
  LONGHAND_CHECK(ops.ok()) << ops.status();
  return std::move(ops).value();
}

Answer MakeAnswer(int64_t sequence_id, int prompt_len, int32_t first_block) {
  Answer answer{.sequence_id = sequence_id};
  for (int i = 0; i < prompt_len; ++i) {
    answer.prompt.push_back(static_cast<int32_t>((sequence_id * 31 + i * 17) % 90));
  }
  for (int32_t i = 0; i < (prompt_len + 12) / 4; ++i) answer.blocks.push_back(first_block + i);
  return answer;
}

SequenceChunk MakeChunk(const Answer& answer, int begin, int end) {
  const int prompt_len = static_cast<int>(answer.prompt.size());
  SequenceChunk chunk{.sequence_id = answer.sequence_id, .num_computed_tokens = begin};
  for (int i = begin; i < end; ++i) {
    chunk.token_ids.push_back(i < prompt_len ? answer.prompt[static_cast<size_t>(i)]
                                             : kTokenOnDevice);
    chunk.positions.insert(chunk.positions.end(), 3, i);
  }
  const int first = (begin + 3) / 4;
  const int last = (end + 3) / 4;
  chunk.first_block_idx = first;
  chunk.new_block_ids.assign(answer.blocks.begin() + first, answer.blocks.begin() + last);
  for (const ImageSpan& image : answer.images) {
    const int from = std::max(begin, image.offset);
    const int to = std::min(end, image.offset + image.num_tokens);
    if (from >= to) continue;
    chunk.image_spans.push_back({.offset = from - begin,
                                 .num_tokens = to - from,
                                 .cache_row = image.cache_row + from - image.offset});
  }
  if (begin == 0) {
    SequenceStart start{.sampling = answer.sampling, .biases = answer.biases};
    if (answer.sampling.HasPenalties()) start.prompt_token_ids = answer.prompt;
    chunk.start.push_back(std::move(start));
  }
  chunk.sample = end >= prompt_len;
  chunk.output_position = end - prompt_len;
  if (chunk.output_position < answer.num_suppressed) chunk.suppressed_token_ids = answer.suppressed;
  return chunk;
}

std::vector<StepPlan> MakePlans(const std::vector<Answer>& answers, int chunk) {
  std::vector<StepPlan> plans;
  std::vector<int> computed(answers.size(), 0);
  while (true) {
    StepPlan plan{.step = static_cast<int64_t>(plans.size()) + 1};
    for (size_t i = 0; i < answers.size(); ++i) {
      const int prompt_len = static_cast<int>(answers[i].prompt.size());
      const int begin = computed[i];
      if (begin == prompt_len + answers[i].num_new - 1) continue;
      const int end = begin < prompt_len ? std::min(begin + chunk, prompt_len) : begin + 1;
      plan.chunks.push_back(MakeChunk(answers[i], begin, end));
      computed[i] = end;
    }
    if (plan.chunks.empty()) return plans;
    plans.push_back(std::move(plan));
  }
}

std::vector<StepResult> RunAlone(ModelRunner& runner, const std::vector<StepPlan>& plans) {
  std::vector<StepResult> results;
  for (const StepPlan& plan : plans) {
    results.push_back(runner.Execute(plan));
    LONGHAND_CHECK(results.back().status.ok()) << results.back().status;
  }
  return results;
}

std::vector<StepResult> RunGroup(const RunnerConfig& config,
                                 int tp_size,
                                 const std::string& backend,
                                 const std::vector<StepPlan>& plans,
                                 const ContentHash& image,
                                 int32_t height,
                                 int32_t width,
                                 const std::vector<uint8_t>& pixels) {
  const auto transport =
      tp_size == 1 ? comm::TestTransport::kSingle : comm::TestTransport::kSharedMemory;
  comm::RankGroup group({transport, tp_size}, std::chrono::seconds(60));
  std::vector<StepResult> first;
  group.Run([&](comm::Communicator& communicator) {
    const std::unique_ptr<kernels::Ops> ops = MakeOps(backend);
    auto runner = ModelRunner::Create(config, *ops, communicator, {});
    LONGHAND_CHECK(runner.ok()) << runner.status();
    if (!pixels.empty()) {
      const Status put = (*runner)->PutImage(image, height, width, pixels);
      LONGHAND_CHECK(put.ok()) << put;
    }
    std::vector<StepResult> results = RunAlone(**runner, plans);
    if (communicator.rank() == 0) {
      first = std::move(results);
    } else {
      for (const StepResult& result : results) LONGHAND_CHECK(result.sequences.empty());
    }
  });
  return first;
}

Sampled SampledFor(int64_t sequence_id, const std::vector<StepResult>& results) {
  Sampled out;
  for (const StepResult& step : results) {
    for (const SequenceResult& sequence : step.sequences) {
      if (sequence.sequence_id != sequence_id) continue;
      for (const SampledToken& token : sequence.tokens) {
        out.token_ids.push_back(token.token_id);
        out.logprobs.push_back(token.logprob);
        for (const TokenLogprob& top : token.top) out.logprobs.push_back(top.logprob);
      }
    }
  }
  return out;
}

}  // namespace longhand::runner
