#include "worker/service/gpu_watch.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <utility>

namespace longhand::service {
namespace {

constexpr std::chrono::milliseconds kTick(200);
constexpr int kTicksBetweenLooks = 5;

// What the label xid may say beside "other": the errors that name hardware, memory, links or a
// hang.
constexpr uint64_t kXids[] = {13, 31, 43, 45, 48, 61, 62, 63, 64, 69, 74, 79, 92, 94, 95, 119, 120};

template <typename Number>
std::optional<double> AsDouble(const std::optional<Number>& number) {
  return number.has_value() ? std::optional(static_cast<double>(*number)) : std::nullopt;
}

}  // namespace

GpuWatch::GpuWatch(std::unique_ptr<NvmlLibrary> gpu, Metrics& metrics)
    : gpu_(std::move(gpu)), metrics_(metrics) {
  metrics_
      .GetGauge(
          "longhand_gpu_info",
          {{"name", gpu_->name()}, {"uuid", gpu_->uuid()}, {"driver", gpu_->driver_version()}})
      .Set(1);
  // From nought on, so that the first one is seen as one more.
  if (gpu_->tells_xids()) {
    for (const uint64_t xid : kXids) XidCounter(std::to_string(xid));
    XidCounter("other");
  }
  Look();
  thread_ = std::thread([this] { Run(); });
}

GpuWatch::~GpuWatch() {
  stopping_ = true;
  thread_.join();
}

void GpuWatch::Run() {
  for (int tick = 1; !stopping_; ++tick) {
    if (const auto xid = gpu_->WaitForXid(kTick)) CountXid(*xid);
    if (tick % kTicksBetweenLooks == 0) Look();
  }
}

void GpuWatch::Look() {
  const auto memory = gpu_->memory();
  SetGauge("longhand_gpu_memory_total_bytes",
           memory ? AsDouble(std::optional(memory->total_bytes)) : std::nullopt);
  SetGauge("longhand_gpu_memory_used_bytes",
           memory ? AsDouble(std::optional(memory->used_bytes)) : std::nullopt);
  const auto utilization = gpu_->utilization();
  SetGauge("longhand_gpu_utilization_ratio",
           utilization ? std::optional(utilization->compute) : std::nullopt);
  SetGauge("longhand_gpu_memory_utilization_ratio",
           utilization ? std::optional(utilization->memory) : std::nullopt);
  SetGauge("longhand_gpu_power_watts", gpu_->power_watts());
  SetGauge("longhand_gpu_power_limit_watts", gpu_->power_limit_watts());
  SetGauge("longhand_gpu_temperature_celsius", gpu_->temperature_celsius());
  SetGauge("longhand_gpu_sm_clock_hertz", gpu_->sm_clock_hertz());
  SetGauge("longhand_gpu_nvlinks_active", AsDouble(gpu_->num_nvlinks_active()));
  SetTotal("longhand_gpu_ecc_errors_total", "corrected", gpu_->ecc_errors(/*corrected=*/true));
  SetTotal("longhand_gpu_ecc_errors_total", "uncorrected", gpu_->ecc_errors(/*corrected=*/false));
  constexpr std::pair<const char*, NvlinkError> kKinds[] = {{"replay", NvlinkError::kReplay},
                                                            {"recovery", NvlinkError::kRecovery},
                                                            {"crc_flit", NvlinkError::kCrcFlit},
                                                            {"crc_data", NvlinkError::kCrcData}};
  for (const auto& [name, kind] : kKinds)
    SetTotal("longhand_gpu_nvlink_errors_total", name, gpu_->nvlink_errors(kind));
}

// Not a number once the driver no longer tells: a value that stands still would look well.
void GpuWatch::SetGauge(const char* name, std::optional<double> value) {
  if (value.has_value()) seen_.insert(name);
  if (!seen_.contains(name)) return;
  metrics_.GetGauge(name).Set(value.value_or(std::numeric_limits<double>::quiet_NaN()));
}

// A driver that was loaded again counts from nought; the counter goes on.
void GpuWatch::SetTotal(const char* name, const char* kind, std::optional<uint64_t> total) {
  if (!total.has_value()) return;
  uint64_t& before = totals_[std::string(name) + " " + kind];
  const uint64_t more = *total >= before ? *total - before : *total;
  metrics_.GetCounter(name, {{"kind", kind}}).Increment(static_cast<double>(more));
  before = *total;
}

void GpuWatch::CountXid(uint64_t xid) {
  const bool is_known = std::find(std::begin(kXids), std::end(kXids), xid) != std::end(kXids);
  XidCounter(is_known ? std::to_string(xid) : "other").Increment();
}

Counter& GpuWatch::XidCounter(const std::string& xid) {
  return metrics_.GetCounter("longhand_gpu_xid_errors_total", {{"xid", xid}});
}

}  // namespace longhand::service
