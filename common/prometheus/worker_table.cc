#include <iterator>

#include "common/prometheus/buckets.h"
#include "common/prometheus/metric_table.h"

namespace longhand {
namespace {

using enum MetricType;
using Table = std::vector<MetricSpec>;

Table Steps() {
  return {
      {"longhand_build_info",
       kGauge,
       "1",
       "1 for the program that runs.",
       {{"version", {}, "one a build"}}},
      {"longhand_worker_epoch", kGauge, "epochs", "Epoch of the latest configuration."},
      {"longhand_worker_ready", kGauge, "bool", "1 while plans can be executed."},
      {"longhand_worker_load_seconds", kGauge, "seconds",
       "Time that loading the weights took, the latest time."},
      {"longhand_worker_memory_bytes",
       kGauge,
       "bytes",
       "Memory that was planned for, by part; all is the sum of those on the device.",
       {{"part", {}, "the parts of the memory plan, and all"}}},
      {"longhand_rank_step", kGauge, "steps", "Number of the latest executed step."},
      {"longhand_worker_steps_total", kCounter, "steps", "Executed steps."},
      {"longhand_worker_failed_steps_total", kCounter, "steps", "Steps that ended in an error."},
      {"longhand_worker_tokens_total", kCounter, "tokens", "Tokens run through the model."},
      {"longhand_worker_step_seconds",
       kHistogram,
       "seconds",
       "Time of a step.",
       {},
       buckets::Step()},
      {"longhand_worker_communicate_seconds",
       kHistogram,
       "seconds",
       "Time of a step spent in collectives.",
       {},
       buckets::Step()},
      {"longhand_allreduce_seconds",
       kHistogram,
       "seconds",
       "Time of one all-reduce, waiting for the other ranks in it. Empty where a GPU runs it: the "
       "host does not see it.",
       {{"algo", {"single", "shared_memory", "gloo"}}},
       buckets::Collective()},
      {"longhand_collectives_total",
       kCounter,
       "calls",
       "Collectives that the rank called.",
       {{"operation", {"all_reduce", "all_gather", "broadcast", "barrier"}}}},
      {"longhand_collective_bytes_total",
       kCounter,
       "bytes",
       "Bytes that the rank gave into collectives; of a broadcast, on every rank, those of the "
       "tensor.",
       {{"operation", {"all_reduce", "all_gather", "broadcast"}}}},
  };
}

// Absent, not zero, where there is no GPU or the driver does not tell.
Table Gpus() {
  return {
      {"longhand_gpu_info",
       kGauge,
       "1",
       "1 for the rank's GPU.",
       {{"name", {}, "one a worker"},
        {"uuid", {}, "one a worker"},
        {"driver", {}, "one a worker"}}},
      {"longhand_gpu_memory_total_bytes", kGauge, "bytes", "Memory of the GPU."},
      {"longhand_gpu_memory_used_bytes", kGauge, "bytes",
       "Of this, memory that is taken, by whatever process."},
      {"longhand_gpu_utilization_ratio", kGauge, "ratio",
       "Share of the driver's latest sample period in which a kernel ran, 0 to 1."},
      {"longhand_gpu_memory_utilization_ratio", kGauge, "ratio",
       "Share of the same period in which memory was read or written, 0 to 1."},
      {"longhand_gpu_power_watts", kGauge, "watts", "Power that the GPU draws."},
      {"longhand_gpu_power_limit_watts", kGauge, "watts", "Power at which the GPU slows down."},
      {"longhand_gpu_temperature_celsius", kGauge, "degrees Celsius", "Temperature of the GPU."},
      {"longhand_gpu_sm_clock_hertz", kGauge, "hertz", "Clock of the multiprocessors."},
      {"longhand_gpu_ecc_errors_total",
       kCounter,
       "errors",
       "Memory errors since the driver was loaded, those before the worker's start among them.",
       {{"kind", {"corrected", "uncorrected"}}}},
      {"longhand_gpu_xid_errors_total",
       kCounter,
       "errors",
       "Critical errors of the GPU (XID) while the worker runs.",
       {{"xid",
         {"13", "31", "43", "45", "48", "61", "62", "63", "64", "69", "74", "79", "92", "94", "95",
          "119", "120", "other"}}}},
      {"longhand_gpu_nvlink_errors_total",
       kCounter,
       "errors",
       "Errors of all NVLinks of the GPU since the driver was loaded.",
       {{"kind", {"replay", "recovery", "crc_flit", "crc_data"}}}},
      {"longhand_gpu_nvlinks_active", kGauge, "links", "NVLinks of the GPU that are up."},
  };
}

}  // namespace

std::span<const MetricSpec> WorkerMetricTable() {
  static const Table table = [] {
    Table all = Steps();
    for (MetricSpec& spec : Gpus()) all.push_back(std::move(spec));
    return all;
  }();
  return table;
}

}  // namespace longhand
