// kernel_bench: the CUDA kernels at the shapes of 7B and 72B, beside what the device can read.
//
//   kernel_bench [--group NAME] [--only TEXT] [--dry-run]
//
// Groups: roof, decode, decode-8bit, linear, linear-quantized, linear-varying, prefill, vision,
// small, sample, copy, cascade.
//
// One JSON object a line: the device, the roofs, then a case each with the median of its times on
// the device, L2 cold, data random; last, which kernels the device got where it was to choose.
// Activations are bf16; a "variant" names other weights or KV than bf16 ones. --only: the cases
// whose names have the text in them. --dry-run runs every case once at a small size on the
// emulation, without times: it shows that the arguments are right.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>

#include "bench/kernel_cases.h"

namespace longhand::bench {
namespace {

// Runs each case once; nothing is timed, and values are what the fill of the host gives.
class DryTimer final : public DeviceTimer {
 public:
  std::string device() const override { return "emulation, not timed"; }
  Result<Times> Measure(const Enqueue& enqueue) override {
    LONGHAND_RETURN_IF_ERROR(enqueue());
    return Times{};
  }
  Status Fill(const TensorView&, float, uint64_t) override { return OkStatus(); }
  Result<Times> MeasureRead(int64_t) override { return Times{}; }
};

constexpr struct {
  const char* name;
  void (*run)(CaseTimer& timer);
} kGroups[] = {{"roof", [](CaseTimer& timer) { timer.Roofs(); }},
               {"decode", &DecodeCases},
               {"decode-8bit", &QuantizedDecodeCases},
               {"linear", &LinearCases},
               {"linear-quantized", &QuantizedLinearCases},
               {"linear-varying", &VaryingLinearCases},
               {"prefill", &PrefillCases},
               {"vision", &VisionCases},
               {"small", &SmallCases},
               {"sample", &SampleCases},
               {"copy", &CopyCases},
               {"cascade", &CascadeCases}};

int Usage() {
  std::fprintf(stderr, "usage: kernel_bench [--group ");
  for (const auto& group : kGroups) {
    std::fprintf(stderr, "%s%s", &group == kGroups ? "" : "|", group.name);
  }
  std::fprintf(stderr, "] [--only TEXT] [--dry-run]\n");
  return 2;
}

bool IsGroup(std::string_view name) {
  return std::any_of(std::begin(kGroups), std::end(kGroups),
                     [&](const auto& group) { return name == group.name; });
}

int Run(std::string_view name, const std::string& only, bool dry) {
  auto ops = dry ? kernels::CreateEmulatedOps() : kernels::CreateCudaOps(/*device_idx=*/0);
  if (!ops.ok()) {
    std::fprintf(stderr, "kernel_bench: %s\n", std::string(ops.status().message()).c_str());
    return ops.status().code() == StatusCode::kUnavailable ? 3 : 1;
  }
  auto timer = dry ? Result<std::unique_ptr<DeviceTimer>>(std::make_unique<DryTimer>())
                   : CreateCudaTimer(**ops);
  if (!timer.ok()) {
    std::fprintf(stderr, "kernel_bench: %s\n", std::string(timer.status().message()).c_str());
    return 1;
  }
  CaseTimer cases(**ops, **timer, dry, only);
  for (const auto& group : kGroups) {
    if (name.empty() || name == group.name) group.run(cases);
  }
  cases.Trials();
  return cases.failed() ? 1 : 0;
}

}  // namespace
}  // namespace longhand::bench

// Exit 0: all ran; 1: something failed; 2: usage; 3: there is no device.
int main(int argc, char** argv) {
  std::string group, only;
  bool dry = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--dry-run") {
      dry = true;
    } else if (flag == "--group" && i + 1 < argc && longhand::bench::IsGroup(argv[i + 1])) {
      group = argv[++i];
    } else if (flag == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else {
      return longhand::bench::Usage();
    }
  }
  return longhand::bench::Run(group, only, dry);
}
