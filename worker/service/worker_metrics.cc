#include "worker/service/worker_metrics.h"

#include <string>

#include "common/version.h"

namespace longhand::service {
namespace {

constexpr char kMemory[] = "longhand_worker_memory_bytes";

// As values of the label algo; null where the host does not see calls end.
const char* NameOf(comm::Transport transport) {
  switch (transport) {
    case comm::Transport::kSingle:
      return "single";
    case comm::Transport::kSharedMemory:
      return "shared_memory";
    case comm::Transport::kGloo:
      return "gloo";
    case comm::Transport::kNccl:
      break;
  }
  return nullptr;
}

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
      epoch_(metrics.GetGauge("longhand_worker_epoch")),
      ready_(metrics.GetGauge("longhand_worker_ready")),
      load_seconds_(metrics.GetGauge("longhand_worker_load_seconds")),
      memory_bytes_(metrics.GetGauge(kMemory, {{"part", "all"}})),
      step_(metrics.GetGauge("longhand_rank_step")),
      steps_(metrics.GetCounter("longhand_worker_steps_total")),
      failed_steps_(metrics.GetCounter("longhand_worker_failed_steps_total")),
      tokens_(metrics.GetCounter("longhand_worker_tokens_total")),
      step_seconds_(metrics.GetHistogram("longhand_worker_step_seconds")),
      communicate_seconds_(metrics.GetHistogram("longhand_worker_communicate_seconds")) {
  metrics.GetGauge("longhand_build_info", {{"version", kVersion}}).Set(1);
  metrics.SetLabels({{"rank", "none"}});
}

void WorkerMetrics::OnEpoch(int64_t epoch, const std::string& group, int rank) {
  epoch_.Set(static_cast<double>(epoch));
  MetricLabels labels = {{"rank", std::to_string(rank)}};
  if (!group.empty()) labels.emplace_back("group", group);
  metrics_.SetLabels(labels);
}

void WorkerMetrics::OnLoaded(const model::MemoryBudget& memory, double seconds) {
  for (const model::MemoryBudget::Part& part : memory.parts) {
    metrics_.GetGauge(kMemory, {{"part", LabelOf(part.name)}}).Set(static_cast<double>(part.bytes));
  }
  memory_bytes_.Set(static_cast<double>(memory.total_bytes()));
  load_seconds_.Set(seconds);
}

void WorkerMetrics::OnReady(bool ready) { ready_.Set(ready ? 1 : 0); }

void WorkerMetrics::OnStep(int64_t num_tokens, const StepResult& result) {
  step_.Set(static_cast<double>(result.step));
  steps_.Increment();
  if (!result.status.ok()) failed_steps_.Increment();
  tokens_.Increment(static_cast<double>(num_tokens));
  step_seconds_.Observe(static_cast<double>(result.execute_us) * 1e-6);
  communicate_seconds_.Observe(static_cast<double>(result.communicate_us) * 1e-6);
}

CollectiveMetrics WorkerMetrics::OfCollectives(comm::Transport transport, bool on_host) const {
  const char* algo = on_host ? NameOf(transport) : nullptr;
  return {.all_reduce = OperationOf("all_reduce", /*has_bytes=*/true),
          .all_gather = OperationOf("all_gather", /*has_bytes=*/true),
          .broadcast = OperationOf("broadcast", /*has_bytes=*/true),
          .barrier = OperationOf("barrier", /*has_bytes=*/false),
          .all_reduce_seconds =
              algo == nullptr
                  ? nullptr
                  : &metrics_.GetHistogram("longhand_allreduce_seconds", {{"algo", algo}})};
}

CollectiveMetrics::Operation WorkerMetrics::OperationOf(const char* name, bool has_bytes) const {
  const MetricLabels labels = {{"operation", name}};
  return {.calls = &metrics_.GetCounter("longhand_collectives_total", labels),
          .bytes = has_bytes ? &metrics_.GetCounter("longhand_collective_bytes_total", labels)
                             : nullptr};
}

}  // namespace longhand::service
