#include "worker/service/worker_metrics.h"

#include <string>
#include <vector>

namespace longhand::service {
namespace {

// Seconds: from a small model's decode step to a long prefill on a CPU.
const std::vector<double>& StepBuckets() {
  static const std::vector<double> buckets = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                              0.1,    0.2,   0.5,   1,     2,    5,    10};
  return buckets;
}

constexpr char kMemory[] = "longhand_worker_memory_bytes";
constexpr char kMemoryHelp[] = "Memory that was planned for, by part; part=\"all\" is the sum";

// "resized images, at most" becomes "resized_images_at_most".
std::string LabelOf(const std::string& part) {
  std::string label;
  for (const char c : part) {
    if (c != ',') label += c == ' ' ? '_' : c;
  }
  return label;
}

}  // namespace

WorkerMetrics::WorkerMetrics(Metrics& metrics)
    : metrics_(metrics),
      epoch_(metrics.GetGauge("longhand_worker_epoch", "Epoch of the latest configuration")),
      ready_(metrics.GetGauge("longhand_worker_ready", "1 while plans can be executed")),
      load_seconds_(metrics.GetGauge("longhand_worker_load_seconds",
                                     "Time that loading the weights took, the latest time")),
      memory_bytes_(metrics.GetGauge(kMemory, kMemoryHelp, {{"part", "all"}})),
      step_(metrics.GetGauge("longhand_rank_step", "Number of the latest executed step")),
      steps_(metrics.GetCounter("longhand_worker_steps_total", "Executed steps")),
      failed_steps_(
          metrics.GetCounter("longhand_worker_failed_steps_total", "Steps that ended in an error")),
      tokens_(metrics.GetCounter("longhand_worker_tokens_total", "Tokens run through the model")),
      step_seconds_(
          metrics.GetHistogram("longhand_worker_step_seconds", "Time of a step", StepBuckets())),
      communicate_seconds_(metrics.GetHistogram("longhand_worker_communicate_seconds",
                                                "Time of a step spent in collectives",
                                                StepBuckets())) {}

void WorkerMetrics::OnEpoch(int64_t epoch) { epoch_.Set(static_cast<double>(epoch)); }

void WorkerMetrics::OnLoaded(const model::MemoryBudget& memory, double seconds) {
  for (const model::MemoryBudget::Part& part : memory.parts) {
    metrics_.GetGauge(kMemory, kMemoryHelp, {{"part", LabelOf(part.name)}})
        .Set(static_cast<double>(part.bytes));
  }
  memory_bytes_.Set(static_cast<double>(memory.total_bytes()));
  load_seconds_.Set(seconds);
}

void WorkerMetrics::OnReady(bool ready) { ready_.Set(ready ? 1 : 0); }

void WorkerMetrics::OnStep(const StepPlan& plan, const StepResult& result) {
  step_.Set(static_cast<double>(plan.step));
  steps_.Increment();
  if (!result.status.ok()) failed_steps_.Increment();
  tokens_.Increment(static_cast<double>(plan.num_tokens()));
  step_seconds_.Observe(static_cast<double>(result.execute_us) * 1e-6);
  communicate_seconds_.Observe(static_cast<double>(result.communicate_us) * 1e-6);
}

}  // namespace longhand::service
