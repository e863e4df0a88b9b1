#include "bench/model_driver.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <random>
#include <utility>

#include "bench/random_weights.h"
#include "worker/model/device_tensor.h"

namespace longhand::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kHoldMs = 30;  // longer than the host takes to enqueue a step

}  // namespace

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void AddOps(const Timing& timing, int steps, Object* object) {
  if (timing.ops.empty()) return;
  std::string all = "{";
  for (const auto& [name, total] : timing.ops) {
    char text[160];
    std::snprintf(text, sizeof(text), "%s\"%s\":{\"calls\":%.6g,\"us\":%.6g}",
                  all.size() > 1 ? "," : "", name.c_str(), static_cast<double>(total.calls) / steps,
                  total.us / steps);
    all += text;
  }
  object->Raw("ops", all + "}");
}

Status ModelDriver::MeasureRead() {
  const Result<DeviceClock::ReadRate> rate = clock_.MeasureRead();
  if (!rate.ok()) {
    report_.Write(Header("read").Add("unavailable", rate.status().message()).Text());
    return OkStatus();
  }
  read_bytes_per_second_ = rate->median;
  report_.Write(Header("read")
                    .Add("gb_per_second", rate->median / 1e9)
                    .Add("best_gb_per_second", rate->best / 1e9)
                    .Text());
  return OkStatus();
}

Status ModelDriver::Load() {
  int64_t max_batch = 1, max_tokens = 0;
  for (const Shape::Cell& cell : shape_.cells) {
    max_batch = std::max(max_batch, cell.batch);
    num_blocks_ = std::max(num_blocks_, cell.batch * BlocksOf(cell.context));
    max_tokens = std::max(max_tokens, BlocksOf(cell.context) * kBlockSize);
  }
  for (const int64_t prefill : shape_.prefills) {
    num_blocks_ = std::max(num_blocks_, prefill / kBlockSize + 1);
    max_tokens = std::max(max_tokens, prefill + kBlockSize);
  }
  int64_t max_images = 0;
  for (const int64_t count : options_.images) max_images = std::max(max_images, count);
  const int64_t pixels = shape_.image_height * shape_.image_width;
  const VisionConfig& vision = shape_.model.vision;
  const int64_t patches = pixels / (vision.patch_size * vision.patch_size);
  runner::RunnerConfig config{.model = shape_.model};
  config.num_blocks = num_blocks_;
  config.block_size = kBlockSize;
  config.max_num_batched_tokens = options_.max_num_batched_tokens;
  config.max_num_seqs = max_batch;
  config.max_model_len = std::min(max_tokens, shape_.model.max_position_embeddings);
  config.encoder_cache_tokens = max_images * patches / 4;
  config.image_bytes = max_images * pixels * 3;
  config.max_patches_per_image = patches;
  config.memory_bytes = clock_.free_bytes();
  config.deterministic = options_.deterministic;
  LONGHAND_ASSIGN_OR_RETURN(config.quantization, ParseQuantization(options_.quantization));
  LONGHAND_ASSIGN_OR_RETURN(
      const ShardPlan plan,
      PlanShards(shape_.model, shape_.tp_size, DType::kBf16, config.kv_dtype, config.quantization));
  shard_ = plan.ranks[0];
  const auto load = [&]() -> Result<model::ModelWeights> {
    RandomWeights source(shape_.model, plan, config.quantization, ops_);
    LONGHAND_ASSIGN_OR_RETURN(model::ModelWeights weights,
                              model::ReadWeights(source, shape_.model, plan, /*rank=*/0));
    weights.rounds_rows = config.quantization == Quantization::kFp8;
    return weights;
  };
  const auto begin = Clock::now();
  LONGHAND_ASSIGN_OR_RETURN(
      runner_, runner::ModelRunner::CreateWith(config, plan, load, ops_, communicator_));
  const double load_s = MsSince(begin) / 1e3;
  runner_->ReplaySteps(options_.graphs);
  LONGHAND_RETURN_IF_ERROR(FillKvCache());
  report_.Write(Header("load")
                    .Add("weight_gb", static_cast<double>(shard_.weight_bytes) / 1e9)
                    .Add("memory_gb", static_cast<double>(runner_->memory().total_bytes()) / 1e9)
                    .Add("free_gb", static_cast<double>(clock_.free_bytes()) / 1e9)
                    .Add("seconds", load_s)
                    .Add("fill_seconds", MsSince(begin) / 1e3 - load_s)
                    .Text());
  return OkStatus();
}

// Rows of a pool on the device, in any order.
Status ModelDriver::FillKvCache() {
  const TensorView first = runner_->KvCache(0);
  const int64_t width = first.dim(3) * first.dim(4);
  const int64_t rows = first.num_elements() / width;
  const int64_t pool_rows = std::min<int64_t>(rows, (int64_t{32} << 20) / width);
  const std::vector<uint16_t> values = RandomBf16(static_cast<size_t>(pool_rows * width), 0);
  std::vector<int32_t> order(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) {
    order[static_cast<size_t>(i)] = static_cast<int32_t>(i * 40503 % pool_rows);
  }
  LONGHAND_ASSIGN_OR_RETURN(const model::DeviceTensor pool,
                            model::AllocateTensor(ops_, DType::kBf16, {pool_rows, width}));
  LONGHAND_ASSIGN_OR_RETURN(const model::DeviceTensor row_ids,
                            model::AllocateTensor(ops_, DType::kI32, {rows}));
  LONGHAND_RETURN_IF_ERROR(
      ops_.CopyToDevice(pool.view.data(), values.data(), pool.view.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(
      ops_.CopyToDevice(row_ids.view.data(), order.data(), row_ids.view.num_bytes()));
  for (int64_t i = 0; i < shape_.model.num_layers; ++i) {
    LONGHAND_RETURN_IF_ERROR(
        ops_.GatherRows({.x = pool.view,
                         .rows = row_ids.view,
                         .out = model::Reshape(runner_->KvCache(i), {rows, width})}));
  }
  return ops_.Synchronize();
}

StepPlan ModelDriver::StartPlan(const Shape::Cell& cell) const {
  std::vector<int32_t> blocks(static_cast<size_t>(num_blocks_));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937(17));
  const int64_t each = BlocksOf(cell.context);
  const auto position = static_cast<int32_t>(cell.context);
  StepPlan plan;
  for (int64_t s = 0; s < cell.batch; ++s) {
    SequenceChunk chunk{.sequence_id = s + 1,
                        .token_ids = {static_cast<int32_t>(s + 1)},
                        .positions = {position, position, position},
                        .num_computed_tokens = cell.context,
                        .start = {SequenceStart{.sampling = Sampling(s)}},
                        .sample = true};
    chunk.new_block_ids.assign(blocks.begin() + s * each, blocks.begin() + (s + 1) * each);
    plan.chunks.push_back(std::move(chunk));
  }
  return plan;
}

StepPlan ModelDriver::NextPlan(const Shape::Cell& cell, int64_t done) const {
  StepPlan plan;
  const auto position = static_cast<int32_t>(cell.context + done);
  for (int64_t s = 0; s < cell.batch; ++s) {
    plan.chunks.push_back({.sequence_id = s + 1,
                           .token_ids = {kTokenOnDevice},
                           .positions = {position, position, position},
                           .num_computed_tokens = position,
                           .sample = true,
                           .output_position = done});
  }
  return plan;
}

StepPlan ModelDriver::PrefillPlan(int64_t begin, int64_t end, int64_t length) const {
  SequenceChunk chunk{.sequence_id = 1, .num_computed_tokens = begin, .sample = end == length};
  for (int64_t i = begin; i < end; ++i) {
    chunk.token_ids.push_back(static_cast<int32_t>(i * 7919 % shape_.model.vocab_size));
    chunk.positions.insert(chunk.positions.end(), 3, static_cast<int32_t>(i));
  }
  if (begin == 0) {
    chunk.start = {SequenceStart{.sampling = Sampling(0)}};
    chunk.new_block_ids.resize(static_cast<size_t>(length / kBlockSize + 1));
    std::iota(chunk.new_block_ids.begin(), chunk.new_block_ids.end(), 0);
  }
  StepPlan plan;
  plan.chunks.push_back(std::move(chunk));
  return plan;
}

Status ModelDriver::Release(int64_t batch) {
  StepPlan plan;
  for (int64_t s = 0; s < batch; ++s) plan.released_sequences.push_back(s + 1);
  Timing unused;
  return Step(std::move(plan), TimedOps::Mode::kOff, &unused);
}

Status ModelDriver::Step(StepPlan plan, TimedOps::Mode mode, Timing* timing) {
  plan.step = ++step_;
  ops_.BeginStep(mode, kHoldMs);
  const auto begin = Clock::now();
  const StepResult result = runner_->Execute(plan);
  const double ms = MsSince(begin);
  LONGHAND_RETURN_IF_ERROR(result.status);
  if (mode == TimedOps::Mode::kOff) timing->wall_ms.push_back(ms);
  if (mode == TimedOps::Mode::kSpan) timing->device_ms.push_back(ops_.SpanMicroseconds() / 1e3);
  ops_.AddTo(&timing->ops);
  if (!result.sequences.empty() && !result.sequences[0].tokens.empty()) {
    timing->tokens.push_back(result.sequences[0].tokens[0].token_id);
  }
  return OkStatus();
}

Result<ModelDriver::Ahead> ModelDriver::StepsAhead(const Shape::Cell& cell,
                                                   int64_t first_done,
                                                   int count) {
  ops_.MarkGaps();
  int num_ended = 0;
  const auto begin = Clock::now();
  for (int i = 0; i < count; ++i) {
    StepPlan plan = NextPlan(cell, first_done + i);
    plan.step = ++step_;
    for (; !runner_->MayBegin(plan); ++num_ended) {
      LONGHAND_RETURN_IF_ERROR(runner_->End().status);
    }
    runner_->Begin(plan);
  }
  for (; num_ended < count; ++num_ended) LONGHAND_RETURN_IF_ERROR(runner_->End().status);
  return Ahead{.ms_a_step = MsSince(begin) / count, .idle_us = ops_.GapMicroseconds()};
}

Result<ModelDriver::Outcome> ModelDriver::StepWithLogits(StepPlan plan) {
  plan.step = ++step_;
  ops_.BeginStep(TimedOps::Mode::kOff, 0);
  const auto begin = Clock::now();
  const StepResult result = runner_->Execute(plan);
  Outcome outcome{.token_ids = {}, .logits = {}, .ms = MsSince(begin)};
  LONGHAND_RETURN_IF_ERROR(result.status);
  for (const SequenceResult& sequence : result.sequences) {
    outcome.token_ids.push_back(sequence.tokens.at(0).token_id);
  }
  const TensorView logits = runner_->LastLogits();
  outcome.logits.resize(static_cast<size_t>(logits.num_elements()));
  LONGHAND_RETURN_IF_ERROR(
      ops_.CopyToHost(outcome.logits.data(), logits.data(), logits.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  return outcome;
}

Object ModelDriver::Header(const std::string& kind) const {
  return Object(kind)
      .Add("shape", options_.shape)
      .Add("quantization", options_.quantization)
      .Add("deterministic", int64_t{options_.deterministic})
      .Add("backend", options_.device)
      .Add("device", clock_.device_name());
}

void ModelDriver::AddShare(double bytes, double ms, Object* object) const {
  object->Add("gb_read", bytes / 1e9).Add("gb_per_second", bytes / ms / 1e6);
  if (read_bytes_per_second_ > 0) {
    object->Add("share_of_read", bytes / ms * 1e3 / read_bytes_per_second_);
  }
}

bool ModelDriver::OutOfTime(const std::string& what) {
  const double seconds = MsSince(begin_) / 1e3;
  if (options_.budget_s <= 0 || seconds < options_.budget_s) return false;
  report_.Write(Header("skipped").Add("what", what).Add("after_s", seconds).Text());
  return true;
}

}  // namespace longhand::bench
