// model_bench: whole steps of models in their real sizes, with random weights that are made on the
// device. Needs no files.
//
//   model_bench --device cuda --shape 7b [--json FILE] [--cells 1x1024,16x4096]
//   [--quantization none|int8|fp8|awq] [--prefill 2048,8192] [--images 1,16] [--steps 50]
//   [--budget-s 120]
//
// Plans go to the runner that the worker has, sampling included: no sockets, no scheduler. The KV
// cache holds random keys and values, each sequence's blocks are its own and lie anywhere. A rank
// of a larger group ("72b-tp8") runs alone: its collectives exchange nothing, so its time is that
// of its own work and never that of a group.
//
// A JSON object a line, each flushed. For a decode cell: wall_ms is one step as the worker's
// executor sees it (median and 99th percentile); device_ms is the same step's operations when the
// host is out of the way (they were enqueued before the device began), so wall_ms - device_ms is
// what the host costs, copies of the plan included. "ops" has the device's microseconds a step by
// operation, with an event behind each, of steps that are not replayed.
//
// Decode steps are recorded and replayed where the device can (CUDA graphs); --no-graphs runs them
// operation by operation. --compare-graphs runs each step both ways and compares every token and
// every bit of the logits: a "graphs" line for each cell, and exit 1 when any differs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bench/device_clock.h"
#include "bench/json_lines.h"
#include "bench/lonely_communicator.h"
#include "bench/model_shapes.h"
#include "bench/random_weights.h"
#include "bench/timed_ops.h"
#include "common/config/model_config.h"
#include "common/config/shard_plan.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cuda/cuda_ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/device_tensor.h"
#include "worker/runner/model_runner.h"

namespace longhand::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kBlockSize = 16;
constexpr int kWarmUpSteps = 3;
constexpr int kDeviceSteps = 7;     // that are timed on the device
constexpr int kProfiledSteps = 3;   // with an event behind each operation
constexpr double kHoldMs = 30;      // longer than the host takes to enqueue a step

struct Options {
  std::string device = "emulated";
  std::string shape = "tiny";
  std::string quantization = "none";
  std::string json;
  std::string cells;
  std::vector<int64_t> prefills;
  std::vector<int64_t> images = {1, 16};
  int64_t max_num_batched_tokens = 2048;
  int steps = 50;
  int repetitions = 3;
  int threads = 1;
  double budget_s = 0;
  bool greedy = false;
  bool profile = true;
  bool graphs = true;
  bool compare_graphs = false;
};

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

struct Device {
  std::unique_ptr<kernels::Ops> ops;
  std::unique_ptr<DeviceClock> clock;
};

Result<Device> OpenDevice(const Options& options) {
  Device device;
  if (options.device == "cuda") {
#ifdef LONGHAND_WITH_CUDA
    LONGHAND_ASSIGN_OR_RETURN(auto ops, kernels::CreateCudaOps(/*device_idx=*/0));
    LONGHAND_ASSIGN_OR_RETURN(device.clock, CreateCudaClock(ops->stream()));
    device.ops = std::move(ops);
    return device;
#else
    return Unimplemented("this build is without CUDA");
#endif
  }
  device.clock = CreateHostClock();
  if (options.device == "emulated") {
    LONGHAND_ASSIGN_OR_RETURN(device.ops, kernels::CreateEmulatedOps());
  } else if (options.device == "cpu") {
    LONGHAND_ASSIGN_OR_RETURN(device.ops, kernels::CreateCpuOps(options.threads));
  } else {
    device.ops = kernels::CreateReferenceOps();
  }
  return device;
}

class Bench {
 public:
  Bench(const Options& options, const Shape& shape, Device& device, Report& report)
      : options_(options),
        shape_(shape),
        clock_(*device.clock),
        ops_(*device.ops, *device.clock),
        communicator_(shape.tp_size, ops_),
        report_(report) {}

  Status Run();

 private:
  struct Timing {
    std::vector<double> wall_ms;
    std::vector<double> device_ms;
    std::map<std::string, TimedOps::Total> ops;
    std::vector<int32_t> tokens;  // of the first sequence
  };

  Status MeasureRead();
  Status Load();
  Status FillKvCache();
  Status DecodeCell(const Shape::Cell& cell);
  Status CompareGraphs(const Shape::Cell& cell);
  // A step whose tokens are `token_ids`, run one way or the other: what it sampled, and its logits.
  struct Outcome {
    std::vector<int32_t> token_ids;
    std::vector<float> logits;
    double ms = 0;
  };
  Result<Outcome> DecodeWith(const Shape::Cell& cell,
                             int64_t done,
                             const std::vector<int32_t>& token_ids,
                             bool replay);
  Status Prefill(int64_t tokens);
  Status EncodeImages(int64_t count);

  int64_t BlocksOf(int64_t context) const {
    const int64_t steps = kWarmUpSteps + options_.steps + kDeviceSteps + kProfiledSteps + 2;
    return (context + steps + kBlockSize) / kBlockSize;
  }
  StepPlan StartPlan(const Shape::Cell& cell);
  StepPlan NextPlan(const Shape::Cell& cell, int64_t done) const;
  Status Release(int64_t batch);
  // One step; what the device took goes to `timing`.
  Status Step(StepPlan plan, TimedOps::Mode mode, Timing* timing);
  SamplingParams Sampling(int64_t sequence) const {
    if (options_.greedy) return {.temperature = 0};
    return {.temperature = 0.6f, .top_p = 0.95f, .seed = static_cast<uint64_t>(sequence) + 11};
  }
  Object Header(const std::string& kind) const {
    return Object(kind)
        .Add("shape", options_.shape)
        .Add("quantization", options_.quantization)
        .Add("backend", options_.device)
        .Add("device", clock_.device_name());
  }
  void AddOps(const Timing& timing, int steps, Object* object) const;
  void AddShare(double bytes, double ms, Object* object) const;
  bool OutOfTime(const std::string& what);

  const Options& options_;
  const Shape& shape_;
  DeviceClock& clock_;
  TimedOps ops_;
  LonelyCommunicator communicator_;
  Report& report_;
  const Clock::time_point begin_ = Clock::now();
  std::unique_ptr<runner::ModelRunner> runner_;
  RankShard shard_;
  int64_t num_blocks_ = 0;
  double read_bytes_per_second_ = 0;
  int64_t step_ = 0;
};

bool Bench::OutOfTime(const std::string& what) {
  const double seconds = MsSince(begin_) / 1e3;
  if (options_.budget_s <= 0 || seconds < options_.budget_s) return false;
  report_.Write(Header("skipped").Add("what", what).Add("after_s", seconds).Text());
  return true;
}

Status Bench::MeasureRead() {
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

Status Bench::Load() {
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
  LONGHAND_ASSIGN_OR_RETURN(config.quantization, ParseQuantization(options_.quantization));
  LONGHAND_ASSIGN_OR_RETURN(
      const ShardPlan plan,
      PlanShards(shape_.model, shape_.tp_size, DType::kBf16, config.kv_dtype,
                 config.quantization));
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
Status Bench::FillKvCache() {
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

// One token of each sequence on top of what counts as computed, with all blocks that the cell will
// need.
StepPlan Bench::StartPlan(const Shape::Cell& cell) {
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

StepPlan Bench::NextPlan(const Shape::Cell& cell, int64_t done) const {
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

Status Bench::Release(int64_t batch) {
  StepPlan plan;
  for (int64_t s = 0; s < batch; ++s) plan.released_sequences.push_back(s + 1);
  Timing unused;
  return Step(std::move(plan), TimedOps::Mode::kOff, &unused);
}

Status Bench::Step(StepPlan plan, TimedOps::Mode mode, Timing* timing) {
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

void Bench::AddOps(const Timing& timing, int steps, Object* object) const {
  if (timing.ops.empty()) return;
  std::string all = "{";
  for (const auto& [name, total] : timing.ops) {
    char text[160];
    std::snprintf(text, sizeof(text), "%s\"%s\":{\"calls\":%.6g,\"us\":%.6g}",
                  all.size() > 1 ? "," : "", name.c_str(),
                  static_cast<double>(total.calls) / steps, total.us / steps);
    all += text;
  }
  object->Raw("ops", all + "}");
}

void Bench::AddShare(double bytes, double ms, Object* object) const {
  object->Add("gb_read", bytes / 1e9).Add("gb_per_second", bytes / ms / 1e6);
  if (read_bytes_per_second_ > 0) {
    object->Add("share_of_read", bytes / ms * 1e3 / read_bytes_per_second_);
  }
}

Status Bench::DecodeCell(const Shape::Cell& cell) {
  Timing timing, warm_up;
  int64_t done = 0;
  LONGHAND_RETURN_IF_ERROR(Step(StartPlan(cell), TimedOps::Mode::kOff, &warm_up));
  const auto steps = [&](int count, TimedOps::Mode mode, Timing* to) {
    for (int i = 0; i < count; ++i) {
      LONGHAND_RETURN_IF_ERROR(Step(NextPlan(cell, ++done), mode, to));
    }
    return OkStatus();
  };
  LONGHAND_RETURN_IF_ERROR(steps(kWarmUpSteps, TimedOps::Mode::kOff, &warm_up));
  const auto begin = Clock::now();
  LONGHAND_RETURN_IF_ERROR(steps(options_.steps, TimedOps::Mode::kOff, &timing));
  const double ms_a_step = MsSince(begin) / options_.steps;
  LONGHAND_RETURN_IF_ERROR(steps(kDeviceSteps, TimedOps::Mode::kSpan, &timing));
  if (options_.profile) {
    runner_->ReplaySteps(false);
    LONGHAND_RETURN_IF_ERROR(steps(kProfiledSteps, TimedOps::Mode::kEach, &timing));
    runner_->ReplaySteps(options_.graphs);
  }
  LONGHAND_RETURN_IF_ERROR(Release(cell.batch));

  // The embedding is a table look-up: a step reads the head and not the table.
  const int64_t element = static_cast<int64_t>(DTypeSize(DType::kBf16));
  const auto bytes = static_cast<double>(
      shard_.text_weight_bytes - shard_.vocab.size() * shape_.model.hidden_size * element +
      cell.batch * cell.context * shard_.kv_bytes_per_token);
  const double wall_ms = Quantile(timing.wall_ms, 0.5);
  const double device_ms = Quantile(timing.device_ms, 0.5);
  Object object = Header("decode");
  object.Add("batch", cell.batch)
      .Add("context", cell.context)
      .Add("steps", int64_t{options_.steps})
      .Raw("graphs", options_.graphs && ops_.CanRecord() ? "true" : "false")
      .Add("wall_ms", wall_ms)
      .Add("wall_p99_ms", Quantile(timing.wall_ms, 0.99))
      .Add("ms_a_step", ms_a_step)
      .Add("device_ms", device_ms)
      .Add("host_us", (ms_a_step - device_ms) * 1e3)
      .Add("tokens_per_second", static_cast<double>(cell.batch) / ms_a_step * 1e3);
  AddShare(bytes, ms_a_step, &object);
  if (read_bytes_per_second_ > 0) {
    object.Add("device_share_of_read", bytes / device_ms * 1e3 / read_bytes_per_second_);
  }
  std::string tokens = "[";
  for (size_t i = 0; i < std::min<size_t>(8, timing.tokens.size()); ++i) {
    tokens += (i > 0 ? "," : "") + std::to_string(timing.tokens[i]);
  }
  object.Raw("first_tokens", tokens + "]");
  AddOps(timing, kProfiledSteps, &object);
  report_.Write(object.Text());
  return OkStatus();
}

Result<Bench::Outcome> Bench::DecodeWith(const Shape::Cell& cell,
                                         int64_t done,
                                         const std::vector<int32_t>& token_ids,
                                         bool replay) {
  StepPlan plan = NextPlan(cell, done);
  for (size_t i = 0; i < token_ids.size(); ++i) plan.chunks[i].token_ids = {token_ids[i]};
  plan.step = ++step_;
  ops_.BeginStep(TimedOps::Mode::kOff, 0);
  runner_->ReplaySteps(replay);
  const auto begin = Clock::now();
  const StepResult result = runner_->Execute(plan);
  Outcome outcome{.ms = MsSince(begin)};
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

// Either way may come first: what it wrote to the cache is what the other then reads.
Status Bench::CompareGraphs(const Shape::Cell& cell) {
  Timing unused;
  LONGHAND_RETURN_IF_ERROR(Step(StartPlan(cell), TimedOps::Mode::kOff, &unused));
  std::vector<int32_t> token_ids(static_cast<size_t>(cell.batch), 1);
  std::vector<double> eager_ms, replay_ms;
  int64_t other_tokens = 0, other_logits = 0;
  for (int64_t done = 1; done <= options_.steps; ++done) {
    const bool first = done % 2 == 0;
    LONGHAND_ASSIGN_OR_RETURN(const Outcome one, DecodeWith(cell, done, token_ids, first));
    LONGHAND_ASSIGN_OR_RETURN(const Outcome two, DecodeWith(cell, done, token_ids, !first));
    (first ? replay_ms : eager_ms).push_back(one.ms);
    (first ? eager_ms : replay_ms).push_back(two.ms);
    for (size_t i = 0; i < one.token_ids.size(); ++i) {
      other_tokens += one.token_ids[i] != two.token_ids.at(i);
    }
    for (size_t i = 0; i < one.logits.size(); ++i) {
      other_logits += std::memcmp(&one.logits[i], &two.logits.at(i), sizeof(float)) != 0;
    }
    token_ids = two.token_ids;
  }
  runner_->ReplaySteps(options_.graphs);
  LONGHAND_RETURN_IF_ERROR(Release(cell.batch));
  report_.Write(Header("graphs")
                    .Add("batch", cell.batch)
                    .Add("context", cell.context)
                    .Add("steps", int64_t{options_.steps})
                    .Add("other_tokens", other_tokens)
                    .Add("other_logits", other_logits)
                    .Add("eager_ms", Quantile(eager_ms, 0.5))
                    .Add("replay_ms", Quantile(replay_ms, 0.5))
                    .Text());
  if (other_tokens == 0 && other_logits == 0) return OkStatus();
  return Internal("replayed steps differ from those run as they are: ", other_tokens,
                  " tokens and ", other_logits, " logits");
}

Status Bench::Prefill(int64_t tokens) {
  Timing timing;
  std::vector<double> wall_ms, device_ms;
  const int rounds = options_.repetitions + (options_.profile ? 3 : 2);
  for (int round = 0; round < rounds; ++round) {
    const TimedOps::Mode mode = round <= options_.repetitions ? TimedOps::Mode::kOff
                                : round == options_.repetitions + 1 ? TimedOps::Mode::kSpan
                                                                    : TimedOps::Mode::kEach;
    Timing chunks;
    const auto begin = Clock::now();
    for (int64_t done = 0; done < tokens;) {
      const int64_t count = std::min(tokens - done, options_.max_num_batched_tokens);
      SequenceChunk chunk{
          .sequence_id = 1, .num_computed_tokens = done, .sample = done + count == tokens};
      for (int64_t i = done; i < done + count; ++i) {
        chunk.token_ids.push_back(static_cast<int32_t>(i * 7919 % shape_.model.vocab_size));
        chunk.positions.insert(chunk.positions.end(), 3, static_cast<int32_t>(i));
      }
      if (done == 0) {
        chunk.start = {SequenceStart{.sampling = Sampling(0)}};
        chunk.new_block_ids.resize(static_cast<size_t>(tokens / kBlockSize + 1));
        std::iota(chunk.new_block_ids.begin(), chunk.new_block_ids.end(), 0);
      }
      StepPlan plan;
      plan.chunks.push_back(std::move(chunk));
      LONGHAND_RETURN_IF_ERROR(Step(std::move(plan), mode, &chunks));
      done += count;
    }
    // The first round warms up.
    if (mode == TimedOps::Mode::kOff && round > 0) wall_ms.push_back(MsSince(begin));
    if (mode == TimedOps::Mode::kSpan) {
      device_ms.push_back(std::accumulate(chunks.device_ms.begin(), chunks.device_ms.end(), 0.0));
    }
    if (mode == TimedOps::Mode::kEach) timing.ops = chunks.ops;
    LONGHAND_RETURN_IF_ERROR(Release(1));
  }
  const auto length = static_cast<double>(tokens);
  const auto heads = static_cast<double>(shard_.heads.size() * shape_.model.head_dim);
  const double weights =
      static_cast<double>(shard_.text_weight_bytes) / 2 -
      2.0 * static_cast<double>(shard_.vocab.size() * shape_.model.hidden_size);
  const double flops = 2 * weights * length + 2 * length * length * heads *
                                                  static_cast<double>(shape_.model.num_layers);
  const double ms = Quantile(wall_ms, 0.5);
  Object object = Header("prefill");
  object.Add("tokens", tokens)
      .Add("chunk", options_.max_num_batched_tokens)
      .Add("wall_ms", ms)
      .Add("device_ms", device_ms[0])
      .Add("tokens_per_second", length / ms * 1e3)
      .Add("tflop", flops / 1e12)
      .Add("tflop_per_second", flops / ms / 1e9);
  AddOps(timing, 1, &object);
  report_.Write(object.Text());
  return OkStatus();
}

Status Bench::EncodeImages(int64_t count) {
  const VisionConfig& vision = shape_.model.vision;
  const int64_t height = shape_.image_height, width = shape_.image_width;
  const int64_t patches = height / vision.patch_size * (width / vision.patch_size);
  const std::vector<uint16_t> noise =
      RandomBf16(static_cast<size_t>(height * width * 3 / 2 + 1), 0);
  std::vector<double> wall_ms;
  Timing timing;
  // The first round warms up. Of several images only the first could be timed on the device: the
  // next one begins with a Synchronize().
  const int extra = count > 1 ? 0 : options_.profile ? 2 : 1;
  for (int round = 0; round <= options_.repetitions + extra; ++round) {
    const TimedOps::Mode mode = round <= options_.repetitions ? TimedOps::Mode::kOff
                                : round == options_.repetitions + 1 ? TimedOps::Mode::kSpan
                                                                    : TimedOps::Mode::kEach;
    StepPlan plan, release;
    for (int64_t i = 0; i < count; ++i) {
      ContentHash hash{};
      hash[0] = static_cast<uint8_t>(i + 1);
      LONGHAND_RETURN_IF_ERROR(
          runner_->PutImage(hash, static_cast<int32_t>(height), static_cast<int32_t>(width),
                            {reinterpret_cast<const uint8_t*>(noise.data()),
                             static_cast<size_t>(height * width * 3)}));
      plan.images.push_back({.image = hash,
                             .layer_end = static_cast<int32_t>(vision.depth),
                             .cache_row = i * patches / 4});
      release.released_images.push_back(hash);
    }
    Timing one, unused;
    Timing* to = mode == TimedOps::Mode::kOff ? &one : &timing;
    LONGHAND_RETURN_IF_ERROR(Step(std::move(plan), mode, to));
    LONGHAND_RETURN_IF_ERROR(Step(std::move(release), TimedOps::Mode::kOff, &unused));
    if (round > 0 && mode == TimedOps::Mode::kOff) wall_ms.push_back(one.wall_ms[0]);
  }
  const auto p = static_cast<double>(patches), h = static_cast<double>(vision.hidden_size);
  const auto ffn = static_cast<double>(vision.intermediate_size);
  const auto out = static_cast<double>(vision.out_hidden_size);
  const auto whole = static_cast<double>(vision.fullatt_block_indexes.size());
  const auto depth = static_cast<double>(vision.depth);
  const double linear = 2 * p * (depth * (4 * h * h + 3 * h * ffn) +
                                 static_cast<double>(vision.patch_dim()) * h +
                                 (16 * h * h + 4 * h * out) / 4);
  const double attention = 4 * p * h * (whole * p + (depth - whole) * 64);
  const double flops = static_cast<double>(count) * (linear + attention);
  const double ms = Quantile(wall_ms, 0.5);
  Object object = Header("images");
  object.Add("count", count)
      .Add("height", height)
      .Add("width", width)
      .Add("wall_ms", ms)
      .Add("images_per_second", static_cast<double>(count) / ms * 1e3)
      .Add("tflop", flops / 1e12)
      .Add("tflop_per_second", flops / ms / 1e9);
  if (!timing.device_ms.empty()) object.Add("device_ms", timing.device_ms[0]);
  AddOps(timing, 1, &object);
  report_.Write(object.Text());
  return OkStatus();
}

Status Bench::Run() {
  LONGHAND_RETURN_IF_ERROR(MeasureRead());
  LONGHAND_RETURN_IF_ERROR(Load());
  for (const Shape::Cell& cell : shape_.cells) {
    const std::string name = std::to_string(cell.batch) + "x" + std::to_string(cell.context);
    if (OutOfTime("decode " + name)) continue;
    LONGHAND_RETURN_IF_ERROR(options_.compare_graphs ? CompareGraphs(cell) : DecodeCell(cell));
  }
  for (const int64_t tokens : shape_.prefills) {
    if (!OutOfTime("prefill " + std::to_string(tokens))) LONGHAND_RETURN_IF_ERROR(Prefill(tokens));
  }
  for (const int64_t count : options_.images) {
    if (OutOfTime("images " + std::to_string(count))) continue;
    LONGHAND_RETURN_IF_ERROR(EncodeImages(count));
  }
  return OkStatus();
}

Status Run(const Options& options) {
  LONGHAND_ASSIGN_OR_RETURN(Shape shape, MakeShape(options.shape));
  if (!options.cells.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(shape.cells, ParseCells(options.cells));
  }
  if (!options.prefills.empty()) shape.prefills = options.prefills;
  std::erase(shape.prefills, 0);
  Report report;
  LONGHAND_RETURN_IF_ERROR(report.Open(options.json));
  LONGHAND_ASSIGN_OR_RETURN(Device device, OpenDevice(options));
  return Bench(options, shape, device, report).Run();
}

}  // namespace
}  // namespace longhand::bench

int main(int argc, char** argv) {
  longhand::bench::Options options;
  CLI::App app{"Times whole steps of models in their real sizes, with random weights.",
               "model_bench"};
  app.add_option("--device", options.device)
      ->check(CLI::IsMember({"cuda", "emulated", "cpu", "reference"}))
      ->capture_default_str();
  app.add_option("--shape", options.shape)
      ->check(CLI::IsMember({"7b", "72b", "72b-tp8", "72b-awq-tp8", "tiny", "tiny-tp2"}))
      ->capture_default_str();
  app.add_option("--quantization", options.quantization, "Weights of the layers")
      ->check(CLI::IsMember({"none", "int8", "fp8", "awq"}))
      ->capture_default_str();
  app.add_option("--json", options.json, "File to which a line is appended for each measurement");
  app.add_option("--cells", options.cells, "Decode: batch x context, as in 1x1024,16x4096");
  app.add_option("--prefill", options.prefills, "Tokens of a prompt; 0: none")->delimiter(',');
  app.add_option("--images", options.images, "Images of a step; 0: none")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens)->capture_default_str();
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--repetitions", options.repetitions)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Of --device cpu")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--budget-s", options.budget_s,
                 "Begins nothing new after so many seconds; 0: no limit");
  app.add_flag("--greedy", options.greedy, "Instead of temperature 0.6, top_p 0.95");
  app.add_flag("--profile,!--no-profile", options.profile, "Times each operation as well");
  app.add_flag("--graphs,!--no-graphs", options.graphs, "Replays decode steps where possible");
  app.add_flag("--compare-graphs", options.compare_graphs,
               "Decode: runs each step both ways and compares them");
  CLI11_PARSE(app, argc, argv);
  std::erase(options.images, 0);
  const longhand::Status status = longhand::bench::Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "model_bench: %s\n", status.message().c_str());
  return 1;
}
