#include <chrono>
#include <vector>

#include "bench/device_clock.h"

namespace longhand::bench {
namespace {

class HostClock final : public DeviceClock {
 public:
  std::string device_name() const override { return "host"; }
  int64_t free_bytes() const override { return 0; }
  void Mark(size_t idx) override { marks_.at(idx) = std::chrono::steady_clock::now(); }
  double Microseconds(size_t from, size_t to) override {
    return std::chrono::duration<double, std::micro>(marks_.at(to) - marks_.at(from)).count();
  }
  void Hold(double) override {}
  Result<ReadRate> MeasureRead() override {
    return Unimplemented("the host's read bandwidth is what step_bench measures");
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_{kMaxMarks};
};

}  // namespace

std::unique_ptr<DeviceClock> CreateHostClock() { return std::make_unique<HostClock>(); }

}  // namespace longhand::bench
