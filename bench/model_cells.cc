#include "bench/model_cells.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "bench/random_weights.h"

namespace longhand::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Of the rank's layers, in whatever form they are stored.
double MatrixElements(const RankShard& shard, const ModelConfig& model) {
  const int64_t query = shard.heads.size() * model.head_dim;
  const int64_t kv = shard.kv_heads.size() * model.head_dim;
  const int64_t of_a_layer = model.hidden_size * (2 * query + 2 * kv + 3 * shard.ffn.size());
  return static_cast<double>(model.num_layers * of_a_layer);
}

}  // namespace

Status TimeDecode(ModelDriver& d, const Shape::Cell& cell) {
  Timing timing, warm_up;
  int64_t done = 0;
  LONGHAND_RETURN_IF_ERROR(d.Step(d.StartPlan(cell), TimedOps::Mode::kOff, &warm_up));
  const auto steps = [&](int count, TimedOps::Mode mode, Timing* to) {
    for (int i = 0; i < count; ++i) {
      LONGHAND_RETURN_IF_ERROR(d.Step(d.NextPlan(cell, ++done), mode, to));
    }
    return OkStatus();
  };
  LONGHAND_RETURN_IF_ERROR(steps(kWarmUpSteps, TimedOps::Mode::kOff, &warm_up));
  const auto begin = Clock::now();
  LONGHAND_RETURN_IF_ERROR(steps(d.options().steps, TimedOps::Mode::kOff, &timing));
  const double ms_a_step = MsSince(begin) / d.options().steps;
  ModelDriver::Ahead ahead;
  if (d.ops().RunsApart()) {
    LONGHAND_ASSIGN_OR_RETURN(ahead, d.StepsAhead(cell, done + 1, d.options().steps));
    done += d.options().steps;
  }
  LONGHAND_RETURN_IF_ERROR(steps(kDeviceSteps, TimedOps::Mode::kSpan, &timing));
  if (d.options().profile) {
    d.runner().ReplaySteps(false);
    LONGHAND_RETURN_IF_ERROR(steps(kProfiledSteps, TimedOps::Mode::kEach, &timing));
    d.runner().ReplaySteps(d.options().graphs);
  }
  LONGHAND_RETURN_IF_ERROR(d.Release(cell.batch));

  // The embedding is a table look-up: a step reads the head and not the table.
  const int64_t element = static_cast<int64_t>(DTypeSize(DType::kBf16));
  const auto bytes = static_cast<double>(
      d.shard().text_weight_bytes - d.shard().vocab.size() * d.shape().model.hidden_size * element +
      cell.batch * cell.context * d.shard().kv_bytes_per_token);
  const double wall_ms = Quantile(timing.wall_ms, 0.5);
  const double device_ms = Quantile(timing.device_ms, 0.5);
  Object object = d.Header("decode");
  object.Add("batch", cell.batch)
      .Add("context", cell.context)
      .Add("steps", int64_t{d.options().steps})
      .Raw("graphs", d.options().graphs && d.ops().CanRecord() ? "true" : "false")
      .Add("wall_ms", wall_ms)
      .Add("wall_p99_ms", Quantile(timing.wall_ms, 0.99))
      .Add("ms_a_step", ms_a_step)
      .Add("device_ms", device_ms)
      .Add("host_us", (ms_a_step - device_ms) * 1e3)
      .Add("tokens_per_second", static_cast<double>(cell.batch) / ms_a_step * 1e3);
  if (!ahead.idle_us.empty()) {
    object.Add("ahead_ms_a_step", ahead.ms_a_step)
        .Add("idle_us", Quantile(ahead.idle_us, 0.5))
        .Add("idle_p99_us", Quantile(ahead.idle_us, 0.99));
  }
  d.AddShare(bytes, ms_a_step, &object);
  if (d.read_bytes_per_second() > 0) {
    object.Add("device_share_of_read", bytes / device_ms * 1e3 / d.read_bytes_per_second());
  }
  std::string tokens = "[";
  for (size_t i = 0; i < std::min<size_t>(8, timing.tokens.size()); ++i) {
    tokens += (i > 0 ? "," : "") + std::to_string(timing.tokens[i]);
  }
  object.Raw("first_tokens", tokens + "]");
  AddOps(timing, kProfiledSteps, &object);
  d.report().Write(object.Text());
  return OkStatus();
}

Status TimePrefill(ModelDriver& d, int64_t tokens) {
  Timing timing;
  std::vector<double> wall_ms, device_ms;
  const int rounds = d.options().repetitions + (d.options().profile ? 3 : 2);
  for (int round = 0; round < rounds; ++round) {
    const TimedOps::Mode mode = round <= d.options().repetitions       ? TimedOps::Mode::kOff
                                : round == d.options().repetitions + 1 ? TimedOps::Mode::kSpan
                                                                       : TimedOps::Mode::kEach;
    Timing chunks;
    const auto begin = Clock::now();
    for (int64_t done = 0; done < tokens;) {
      const int64_t count = std::min(tokens - done, d.options().max_num_batched_tokens);
      StepPlan plan = d.PrefillPlan(done, done + count, tokens);
      LONGHAND_RETURN_IF_ERROR(d.Step(std::move(plan), mode, &chunks));
      done += count;
    }
    // The first round warms up.
    if (mode == TimedOps::Mode::kOff && round > 0) wall_ms.push_back(MsSince(begin));
    if (mode == TimedOps::Mode::kSpan) {
      device_ms.push_back(std::accumulate(chunks.device_ms.begin(), chunks.device_ms.end(), 0.0));
    }
    if (mode == TimedOps::Mode::kEach) timing.ops = chunks.ops;
    LONGHAND_RETURN_IF_ERROR(d.Release(1));
  }
  const auto length = static_cast<double>(tokens);
  const auto heads = static_cast<double>(d.shard().heads.size() * d.shape().model.head_dim);
  const double flops =
      2 * MatrixElements(d.shard(), d.shape().model) * length +
      2 * length * length * heads * static_cast<double>(d.shape().model.num_layers);
  const double ms = Quantile(wall_ms, 0.5);
  Object object = d.Header("prefill");
  object.Add("tokens", tokens)
      .Add("chunk", d.options().max_num_batched_tokens)
      .Add("wall_ms", ms)
      .Add("device_ms", device_ms[0])
      .Add("tokens_per_second", length / ms * 1e3)
      .Add("tflop", flops / 1e12)
      .Add("tflop_per_second", flops / ms / 1e9);
  AddOps(timing, 1, &object);
  d.report().Write(object.Text());
  return OkStatus();
}

Status TimeImages(ModelDriver& d, int64_t count) {
  const VisionConfig& vision = d.shape().model.vision;
  const int64_t height = d.shape().image_height, width = d.shape().image_width;
  const int64_t patches = height / vision.patch_size * (width / vision.patch_size);
  const std::vector<uint16_t> noise =
      RandomBf16(static_cast<size_t>(height * width * 3 / 2 + 1), 0);
  std::vector<double> wall_ms;
  Timing timing;
  // The first round warms up. Of several images only the first could be timed on the device: the
  // next one begins with a Synchronize().
  const int extra = count > 1 ? 0 : d.options().profile ? 2 : 1;
  for (int round = 0; round <= d.options().repetitions + extra; ++round) {
    const TimedOps::Mode mode = round <= d.options().repetitions       ? TimedOps::Mode::kOff
                                : round == d.options().repetitions + 1 ? TimedOps::Mode::kSpan
                                                                       : TimedOps::Mode::kEach;
    StepPlan plan, release;
    for (int64_t i = 0; i < count; ++i) {
      ContentHash hash{};
      hash[0] = static_cast<uint8_t>(i + 1);
      LONGHAND_RETURN_IF_ERROR(d.runner().PutImage(hash, static_cast<int32_t>(height),
                                                   static_cast<int32_t>(width),
                                                   {reinterpret_cast<const uint8_t*>(noise.data()),
                                                    static_cast<size_t>(height * width * 3)}));
      plan.images.push_back({.image = hash,
                             .layer_end = static_cast<int32_t>(vision.depth),
                             .cache_row = i * patches / 4});
      release.released_images.push_back(hash);
    }
    Timing one, unused;
    Timing* to = mode == TimedOps::Mode::kOff ? &one : &timing;
    LONGHAND_RETURN_IF_ERROR(d.Step(std::move(plan), mode, to));
    LONGHAND_RETURN_IF_ERROR(d.Step(std::move(release), TimedOps::Mode::kOff, &unused));
    if (round > 0 && mode == TimedOps::Mode::kOff) wall_ms.push_back(one.wall_ms[0]);
  }
  const auto p = static_cast<double>(patches), h = static_cast<double>(vision.hidden_size);
  const auto ffn = static_cast<double>(vision.intermediate_size);
  const auto out = static_cast<double>(vision.out_hidden_size);
  const auto whole = static_cast<double>(vision.fullatt_block_indexes.size());
  const auto depth = static_cast<double>(vision.depth);
  const double linear =
      2 * p *
      (depth * (4 * h * h + 3 * h * ffn) + static_cast<double>(vision.patch_dim()) * h +
       (16 * h * h + 4 * h * out) / 4);
  const double attention = 4 * p * h * (whole * p + (depth - whole) * 64);
  const double flops = static_cast<double>(count) * (linear + attention);
  const double ms = Quantile(wall_ms, 0.5);
  Object object = d.Header("images");
  object.Add("count", count)
      .Add("height", height)
      .Add("width", width)
      .Add("wall_ms", ms)
      .Add("images_per_second", static_cast<double>(count) / ms * 1e3)
      .Add("tflop", flops / 1e12)
      .Add("tflop_per_second", flops / ms / 1e9);
  if (!timing.device_ms.empty()) object.Add("device_ms", timing.device_ms[0]);
  AddOps(timing, 1, &object);
  d.report().Write(object.Text());
  return OkStatus();
}

}  // namespace longhand::bench
