// step_bench: how fast one rank runs steps of a checkpoint, beside what the machine can read and
// multiply.
//
//   step_bench --model DIR [--threads 2] [--batch 1,4,16] [--context 128,2048] [--prefill 512,2048]
//   [--steps 32] [--quantization int8] [--image 1008]
//
// Plans go straight to the runner: no sockets, no scheduler. Before each decode row the sequences'
// KV blocks are zeros of real memory, each sequence its own, so a step reads what a true one reads.
// --image encodes a square picture of so many pixels a side.
// One JSON line a row with --json.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/options/command_line.h"
#include "kernels/ops.h"
#include "tests/conformance/roof.h"
#include "worker/comm/single_rank.h"
#include "worker/runner/model_runner.h"

namespace longhand::bench {
namespace {

constexpr int64_t kBlockSize = 16;

struct Options {
  std::string model;
  std::string dtype = "bfloat16";
  std::string quantization = "none";
  int threads = 2;
  std::vector<int64_t> batches = {1, 4, 16};
  std::vector<int64_t> contexts = {128, 2048};
  std::vector<int64_t> prefills = {512, 2048};
  int64_t image = 0;
  int64_t max_num_batched_tokens = 2048;
  int steps = 32;
  int repetitions = 3;
  bool json = false;
};

struct Row {
  std::string name;
  int64_t batch = 1;
  int64_t context = 0;
  double seconds = 0;  // of a step
  double tokens = 0;   // of a step
  double bytes = 0;    // that a step must read: weights once, and the keys and values
  double flops = 0;    // of its products with weights
};

class Bench {
 public:
  Bench(const Options& options,
        runner::ModelRunner& runner,
        const ModelConfig& model,
        int64_t weight_bytes,
        int64_t kv_bytes_per_token)
      : options_(options),
        runner_(runner),
        model_(model),
        weight_bytes_(weight_bytes),
        kv_bytes_per_token_(kv_bytes_per_token) {
    const ShardPlan plan = PlanShards(model, 1, DType::kBf16, DType::kBf16).value();
    // bf16: 2 bytes and 2 operations a weight. The embedding is a table look-up.
    head_flops_ = static_cast<double>(2 * model.vocab_size * model.hidden_size);
    layer_flops_ = static_cast<double>(plan.ranks[0].text_weight_bytes) - 2 * head_flops_;
    vision_flops_ = static_cast<double>(plan.ranks[0].vision_weight_bytes);
  }

  Row Decode(int64_t batch, int64_t context) {
    std::vector<double> seconds;
    for (int i = 0; i < options_.repetitions; ++i) seconds.push_back(DecodeOnce(batch, context));
    return {"decode",
            batch,
            context,
            Median(seconds),
            static_cast<double>(batch),
            static_cast<double>(weight_bytes_ + batch * context * kv_bytes_per_token_),
            static_cast<double>(batch) * (layer_flops_ + head_flops_)};
  }

  Row Prefill(int64_t tokens) {
    std::vector<double> seconds;
    for (int i = 0; i < options_.repetitions; ++i) seconds.push_back(PrefillOnce(tokens));
    const auto count = static_cast<double>(tokens);
    return {"prefill", 1, tokens, Median(seconds), count, 0, count * layer_flops_ + head_flops_};
  }

  // The merger's weights see a patch in four; they are few.
  Row Encode(int64_t side) {
    std::vector<double> seconds;
    for (int i = 0; i < options_.repetitions; ++i) seconds.push_back(EncodeOnce(side));
    const auto patches = static_cast<double>(NumPatches(model_, side));
    return {"encode", 1, static_cast<int64_t>(patches), Median(seconds),
            patches,  0, patches * vision_flops_};
  }
  static int64_t NumPatches(const ModelConfig& model, int64_t side) {
    return side / model.vision.patch_size * (side / model.vision.patch_size);
  }

 private:
  static double Median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  // Seconds of a step, of `steps` that follow one to warm up.
  double DecodeOnce(int64_t batch, int64_t context) {
    Run(MakeStart(batch, context));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < options_.steps; ++i) {
      StepPlan plan;
      for (int64_t s = 0; s < batch; ++s) {
        const auto position = static_cast<int32_t>(context + 1 + i);
        plan.chunks.push_back({.sequence_id = s + 1,
                               .token_ids = {kTokenOnDevice},
                               .positions = {position, position, position},
                               .num_computed_tokens = context + 1 + i,
                               .sample = true,
                               .output_position = i + 1});
      }
      Run(std::move(plan));
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    Release(batch);
    return taken.count() / options_.steps;
  }

  // One token of each sequence on top of `context` that count as computed, with all blocks that the
  // row will need.
  StepPlan MakeStart(int64_t batch, int64_t context) const {
    StepPlan plan;
    const auto position = static_cast<int32_t>(context);
    const int64_t num_blocks = (context + 1 + options_.steps + kBlockSize) / kBlockSize;
    for (int64_t s = 0; s < batch; ++s) {
      SequenceChunk chunk{.sequence_id = s + 1,
                          .token_ids = {1},
                          .positions = {position, position, position},
                          .num_computed_tokens = context,
                          .start = {SequenceStart{.sampling = {.temperature = 0}}},
                          .sample = true};
      chunk.new_block_ids.resize(static_cast<size_t>(num_blocks));
      std::iota(chunk.new_block_ids.begin(), chunk.new_block_ids.end(),
                static_cast<int32_t>(s * num_blocks));
      plan.chunks.push_back(std::move(chunk));
    }
    return plan;
  }

  double PrefillOnce(int64_t tokens) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t done = 0; done < tokens;) {
      const int64_t count = std::min(tokens - done, options_.max_num_batched_tokens);
      SequenceChunk chunk{
          .sequence_id = 1, .num_computed_tokens = done, .sample = done + count == tokens};
      for (int64_t i = done; i < done + count; ++i) {
        chunk.token_ids.push_back(static_cast<int32_t>(i % 1000));
        chunk.positions.insert(chunk.positions.end(), 3, static_cast<int32_t>(i));
      }
      if (done == 0) {
        chunk.start = {SequenceStart{.sampling = {.temperature = 0}}};
        chunk.new_block_ids.resize(static_cast<size_t>(tokens / kBlockSize + 1));
        std::iota(chunk.new_block_ids.begin(), chunk.new_block_ids.end(), 0);
      }
      StepPlan plan;
      plan.chunks.push_back(std::move(chunk));
      Run(std::move(plan));
      done += count;
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    Release(1);
    return taken.count();
  }

  double EncodeOnce(int64_t side) {
    const std::vector<uint8_t> pixels(static_cast<size_t>(side * side * 3), 100);
    const ContentHash hash{1};
    LONGHAND_CHECK(runner_
                       .PutImage(hash, static_cast<int32_t>(side), static_cast<int32_t>(side),
                                 {pixels.data(), pixels.size()})
                       .ok());
    StepPlan plan, release;
    plan.images.push_back(
        {.image = hash, .layer_end = static_cast<int32_t>(model_.vision.depth), .cache_row = 0});
    release.released_images.push_back(hash);
    const auto begin = std::chrono::steady_clock::now();
    Run(std::move(plan));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    Run(std::move(release));
    return taken.count();
  }

  void Release(int64_t batch) {
    StepPlan plan;
    for (int64_t s = 0; s < batch; ++s) plan.released_sequences.push_back(s + 1);
    Run(std::move(plan));
  }

  void Run(StepPlan plan) {
    plan.step = ++step_;
    const StepResult result = runner_.Execute(plan);
    LONGHAND_CHECK(result.status.ok()) << result.status;
  }

  const Options& options_;
  runner::ModelRunner& runner_;
  const ModelConfig& model_;
  const int64_t weight_bytes_;
  const int64_t kv_bytes_per_token_;
  double layer_flops_ = 0, head_flops_ = 0, vision_flops_ = 0;
  int64_t step_ = 0;
};

struct Roof {
  double bytes_per_second = 0;
  double flops_per_second = 0;
};

Roof Measure(int threads) {
  Roof roof;
  for (const conformance::Record& record : conformance::MeasureRoof(threads)) {
    if (record.bytes > 0) roof.bytes_per_second = record.bytes / record.ns * 1e9;
    if (record.flops > 0) roof.flops_per_second = record.flops / record.ns * 1e9;
  }
  return roof;
}

void Print(const Row& row, const Roof& roof, bool json) {
  const double tokens_per_second = row.tokens / row.seconds;
  const double bandwidth_share = row.bytes / row.seconds / roof.bytes_per_second;
  const double flops_share = row.flops / row.seconds / roof.flops_per_second;
  if (json) {
    std::printf(
        "{\"name\":\"%s\",\"batch\":%lld,\"context\":%lld,\"tokens_per_second\":%.3f,\"gb_per_"
        "second\":%.3f,"
        "\"share_of_read_bandwidth\":%.4f,\"share_of_f32_peak\":%.4f}\n",
        row.name.c_str(), static_cast<long long>(row.batch), static_cast<long long>(row.context),
        tokens_per_second, row.bytes / row.seconds / 1e9, bandwidth_share, flops_share);
  } else {
    std::printf(
        "%-8s batch %3lld  %6lld tokens  %9.2f tokens/s  %6.2f GB/s  %5.1f%% of read  %5.1f%% of "
        "f32 peak\n",
        row.name.c_str(), static_cast<long long>(row.batch), static_cast<long long>(row.context),
        tokens_per_second, row.bytes / row.seconds / 1e9, bandwidth_share * 100, flops_share * 100);
  }
  std::fflush(stdout);
}

int Run(const Options& options) {
  const auto fail = [](const Status& status) {
    std::fprintf(stderr, "step_bench: %s\n", status.message().c_str());
    return kExitFailed;
  };
  Result<ModelConfig> model = ModelConfig::Load(options.model);
  if (!model.ok()) return fail(model.status());
  Result<std::unique_ptr<kernels::Ops>> ops = kernels::CreateCpuOps(options.threads);
  if (!ops.ok()) return fail(ops.status());
  const int64_t max_batch = *std::max_element(options.batches.begin(), options.batches.end());
  const int64_t max_context = *std::max_element(options.contexts.begin(), options.contexts.end());
  const int64_t max_prefill = *std::max_element(options.prefills.begin(), options.prefills.end());
  const int64_t kv_tokens = std::max(max_batch * (max_context + options.steps + 2 * kBlockSize),
                                     max_prefill + kBlockSize);
  runner::RunnerConfig config{.model = *model};
  config.dtype = config.kv_dtype = options.dtype == "float32" ? DType::kF32 : DType::kBf16;
  config.num_blocks = kv_tokens / kBlockSize + max_batch;
  config.max_num_batched_tokens = options.max_num_batched_tokens;
  config.max_num_seqs = max_batch;
  config.quantization = ParseQuantization(options.quantization).value();
  config.max_model_len = std::min(model->max_position_embeddings, kv_tokens);
  const int64_t patches = Bench::NumPatches(*model, options.image);
  config.encoder_cache_tokens = patches / 4;
  config.image_bytes = options.image * options.image * 3;
  config.max_patches_per_image = patches;
  comm::SingleRankCommunicator communicator;
  Result<std::unique_ptr<runner::ModelRunner>> runner =
      runner::ModelRunner::Create(config, **ops, communicator, {});
  if (!runner.ok()) return fail(runner.status());

  const Result<ShardPlan> shards =
      PlanShards(*model, 1, WeightDType(model->torch_dtype, config.dtype), config.kv_dtype,
                 config.quantization);
  if (!shards.ok()) return fail(shards.status());
  // The embedding is a table look-up: a step reads the head, not the table, also when they are
  // tied.
  const RankShard& rank = shards->ranks[0];
  const int64_t weight_bytes = rank.text_weight_bytes - model->vocab_size * model->hidden_size * 2;
  const Roof roof = Measure(options.threads);
  std::fprintf(stderr, "%d threads: %.1f GB/s read, %.0f GFLOP/s f32; weights of a step %.3f GB\n",
               options.threads, roof.bytes_per_second / 1e9, roof.flops_per_second / 1e9,
               static_cast<double>(weight_bytes) / 1e9);
  Bench bench(options, **runner, *model, weight_bytes, rank.kv_bytes_per_token);
  if (options.image > 0) Print(bench.Encode(options.image), roof, options.json);
  for (const int64_t tokens : options.prefills) Print(bench.Prefill(tokens), roof, options.json);
  for (const int64_t context : options.contexts) {
    for (const int64_t batch : options.batches) {
      Print(bench.Decode(batch, context), roof, options.json);
    }
  }
  return kExitOk;
}

}  // namespace
}  // namespace longhand::bench

int main(int argc, char** argv) {
  longhand::bench::Options options;
  CLI::App app{"Times steps of a checkpoint on one rank.", "step_bench"};
  app.add_option("--model", options.model, "Checkpoint directory")->required();
  app.add_option("--dtype", options.dtype)
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--quantization", options.quantization)
      ->check(CLI::IsMember({"none", "int8", "fp8"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--batch", options.batches)->delimiter(',')->capture_default_str();
  app.add_option("--context", options.contexts, "Tokens in the cache before a decode step")
      ->delimiter(',');
  app.add_option("--prefill", options.prefills, "Tokens of a prompt")->delimiter(',');
  app.add_option("--image", options.image, "Pixels a side of a picture to encode")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens)->capture_default_str();
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--repetitions", options.repetitions)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_flag("--json", options.json);
  const auto exit = longhand::ParseCommandLine(app, {argv + 1, argv + argc});
  return exit ? *exit : longhand::bench::Run(options);
}
