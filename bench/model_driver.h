// ModelDriver: a model with random weights behind the runner that the worker has, and the steps
// that measurements make of it.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/device_clock.h"
#include "bench/json_lines.h"
#include "bench/lonely_communicator.h"
#include "bench/model_shapes.h"
#include "bench/timed_ops.h"
#include "common/config/shard_plan.h"
#include "worker/runner/model_runner.h"

namespace longhand::bench {

// What model_bench was asked for.
struct ModelOptions {
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
  bool compare_batches = false;
  bool deterministic = true;
};

constexpr int64_t kBlockSize = 16;
constexpr int kWarmUpSteps = 3;
constexpr int kDeviceSteps = 7;    // that are timed on the device
constexpr int kProfiledSteps = 3;  // with an event behind each operation

struct Timing {
  std::vector<double> wall_ms;
  std::vector<double> device_ms;
  std::map<std::string, TimedOps::Total> ops;
  std::vector<int32_t> tokens;  // of the first sequence
};

double Quantile(std::vector<double> values, double q);
double MsSince(std::chrono::steady_clock::time_point begin);
// The device's microseconds a step by operation, of `steps`; nothing where none were timed.
void AddOps(const Timing& timing, int steps, Object* object);

class ModelDriver {
 public:
  // What is passed must outlive the driver.
  ModelDriver(const ModelOptions& options,
              const Shape& shape,
              kernels::Ops& ops,
              DeviceClock& clock,
              Report& report)
      : options_(options),
        shape_(shape),
        clock_(clock),
        ops_(ops, clock),
        communicator_(shape.tp_size, ops_),
        report_(report) {}

  // Before all else: what the device can read, then the weights and a KV cache of random keys and
  // values.
  Status MeasureRead();
  Status Load();

  const ModelOptions& options() const { return options_; }
  const Shape& shape() const { return shape_; }
  const RankShard& shard() const { return shard_; }
  TimedOps& ops() { return ops_; }
  runner::ModelRunner& runner() { return *runner_; }
  Report& report() { return report_; }
  // 0: not known.
  double read_bytes_per_second() const { return read_bytes_per_second_; }

  // One token of each sequence on top of what counts as computed, with all blocks that the cell
  // will need; then `done` tokens later.
  StepPlan StartPlan(const Shape::Cell& cell) const;
  StepPlan NextPlan(const Shape::Cell& cell, int64_t done) const;
  // Tokens [begin, end) of a prompt, in the first blocks; with the last of `length`, sampled.
  StepPlan PrefillPlan(int64_t begin, int64_t end, int64_t length) const;
  // One step; what the device took goes to `timing`.
  Status Step(StepPlan plan, TimedOps::Mode mode, Timing* timing);
  // Decode steps as the worker's executor drives them where the device runs apart from the host:
  // each begins while the one ahead of it runs, as far as the runner allows.
  struct Ahead {
    double ms_a_step = 0;
    std::vector<double> idle_us;  // of the device, between steps; empty where none ran ahead
  };
  Result<Ahead> StepsAhead(const Shape::Cell& cell, int64_t first_done, int count);
  // A step as it is: what it sampled, and its logits.
  struct Outcome {
    std::vector<int32_t> token_ids;
    std::vector<float> logits;  // [sequences, vocab_size]
    double ms = 0;
  };
  Result<Outcome> StepWithLogits(StepPlan plan);
  Status Release(int64_t batch);

  Object Header(const std::string& kind) const;
  // What reading `bytes` in so many ms is of what the device can.
  void AddShare(double bytes, double ms, Object* object) const;
  // Whether the budget of time is spent; reports that `what` was skipped.
  bool OutOfTime(const std::string& what);

 private:
  Status FillKvCache();
  int64_t BlocksOf(int64_t context) const {
    const int64_t steps = kWarmUpSteps + 2 * options_.steps + kDeviceSteps + kProfiledSteps + 2;
    return (context + steps + kBlockSize) / kBlockSize;
  }
  SamplingParams Sampling(int64_t sequence) const {
    if (options_.greedy) return {.temperature = 0};
    return {.temperature = 0.6f, .top_p = 0.95f, .seed = static_cast<uint64_t>(sequence) + 11};
  }

  const ModelOptions& options_;
  const Shape& shape_;
  DeviceClock& clock_;
  TimedOps ops_;
  LonelyCommunicator communicator_;
  Report& report_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::unique_ptr<runner::ModelRunner> runner_;
  RankShard shard_;
  int64_t num_blocks_ = 0;
  double read_bytes_per_second_ = 0;
  int64_t step_ = 0;
};

}  // namespace longhand::bench
