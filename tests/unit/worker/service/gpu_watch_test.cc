// The GPU's metrics, from a stand-in for NVML (stand_in_nvml.cc): no GPU is needed, and none is
// measured.
#include "worker/service/gpu_watch.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "common/prometheus/prometheus_metrics.h"
#include "tests/unit/worker/service/stand_in_nvml.h"

namespace longhand::service {
namespace {

constexpr char kBusId[] = "0000:1b:00.0";
constexpr char kXid79[] = "longhand_gpu_xid_errors_total{xid=\"79\"} 1";

class GpuWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    void* library = dlopen(LONGHAND_STAND_IN_NVML, RTLD_NOW);
    ASSERT_NE(library, nullptr) << dlerror();
    gpu_ = reinterpret_cast<StandInNvmlGpuFunction*>(dlsym(library, "StandInNvmlGpu"))();
    raise_ = reinterpret_cast<StandInNvmlRaiseFunction*>(dlsym(library, "StandInNvmlRaise"));
    gpu_->is_lost = false;
    gpu_->ecc_corrected = 5;
  }
  std::unique_ptr<GpuWatch> Watch() {
    auto gpu = NvmlLibrary::Open(kBusId, LONGHAND_STAND_IN_NVML);
    EXPECT_TRUE(gpu.ok()) << gpu.status();
    return std::make_unique<GpuWatch>(std::move(gpu).value(), metrics_);
  }
  bool Has(const std::string& line) const {
    return metrics_.Page().find("\n" + line + "\n") != std::string::npos;
  }
  // The watch looks in its own time; the test's bound only ends one that hangs.
  bool Gets(const std::string& line) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!Has(line) && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return Has(line);
  }

  PrometheusMetrics metrics_{WorkerMetricTable()};
  StandInGpu* gpu_ = nullptr;
  StandInNvmlRaiseFunction* raise_ = nullptr;
};

TEST_F(GpuWatchTest, WhatTheDriverTellsIsThereAtOnce) {
  const auto watch = Watch();
  for (const char* line :
       {"longhand_gpu_info{driver=\"580.65.06\",name=\"Stand-in GPU\",uuid=\"GPU-1\"} 1",
        "longhand_gpu_memory_total_bytes 85899345920", "longhand_gpu_memory_used_bytes 64424509440",
        "longhand_gpu_utilization_ratio 0.75", "longhand_gpu_memory_utilization_ratio 0.4",
        "longhand_gpu_power_watts 412.5", "longhand_gpu_temperature_celsius 61",
        "longhand_gpu_sm_clock_hertz 1980000000", "longhand_gpu_nvlinks_active 3",
        "longhand_gpu_ecc_errors_total{kind=\"corrected\"} 5",
        "longhand_gpu_ecc_errors_total{kind=\"uncorrected\"} 0",
        "longhand_gpu_nvlink_errors_total{kind=\"replay\"} 8"}) {
    EXPECT_TRUE(Has(line)) << line << " in\n" << metrics_.Page();
  }
  // The stand-in has no such function.
  EXPECT_EQ(metrics_.Page().find("\nlonghand_gpu_power_limit_watts "), std::string::npos);
}

TEST_F(GpuWatchTest, ErrorsThatComeAreCounted) {
  const auto watch = Watch();
  gpu_->ecc_corrected = 9;
  EXPECT_TRUE(Gets("longhand_gpu_ecc_errors_total{kind=\"corrected\"} 9"));
  gpu_->ecc_corrected = 1;  // The driver was loaded again.
  EXPECT_TRUE(Gets("longhand_gpu_ecc_errors_total{kind=\"corrected\"} 10"));
  EXPECT_TRUE(Has("longhand_gpu_xid_errors_total{xid=\"79\"} 0"));
  raise_(79);
  EXPECT_TRUE(Gets(kXid79));
  raise_(7777);
  EXPECT_TRUE(Gets("longhand_gpu_xid_errors_total{xid=\"other\"} 1"));
}

TEST_F(GpuWatchTest, AGpuThatIsLostHasNoValues) {
  const auto watch = Watch();
  gpu_->is_lost = true;
  EXPECT_TRUE(Gets("longhand_gpu_temperature_celsius Nan")) << metrics_.Page();
}

TEST_F(GpuWatchTest, WithoutDriverOrGpuThereIsNothingAndTheReasonIsSaid) {
  EXPECT_EQ(NvmlLibrary::Open(kBusId, "libno-such-nvml.so").status().code(),
            StatusCode::kUnavailable);
  EXPECT_EQ(NvmlLibrary::Open("0000:ff:00.0", LONGHAND_STAND_IN_NVML).status().message(),
            "NVML knows no GPU 0000:ff:00.0: error 6");
  EXPECT_EQ(metrics_.Page().find("\nlonghand_gpu_"), std::string::npos);
  EXPECT_TRUE(Has("# TYPE longhand_gpu_memory_used_bytes gauge"));
}

}  // namespace
}  // namespace longhand::service
