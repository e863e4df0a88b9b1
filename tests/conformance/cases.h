// Conformance cases: what each operation must do, written once for all backends.
//
// A case runs its body on the backend under test and on the reference, and compares what the
// operation wrote; or it runs two bodies on the backend under test and wants the same bits; or it
// wants arguments to be refused. A body makes its inputs from a fixed seed, so that it does the
// same on every backend.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/conformance/device.h"

namespace longhand::conformance {

using Outputs = std::vector<HostTensor>;
using Body = std::function<Result<Outputs>(Device&)>;

// How far a result may be from the reference's.
struct Tolerance {
  enum class Metric {
    kOfLargest,  // |a - b| / largest |b| of the tensor: sums of many terms
    kOfEach,     // |a - b| / |b|, with |b| at least 1e-30: functions of one element
  };
  double value = 0;
  Metric metric = Metric::kOfLargest;
  std::string reason;
};

// An operation ready to run again and again, for --bench.
struct Timed {
  std::function<Status()> run;
  double bytes = 0;  // read and written, each once
  double flops = 0;
};

struct Case {
  std::string op;
  std::string name;
  Body body;
  Tolerance tolerance;  // against the reference
  bool misaligned = false;
  Body same_bits;        // or: must write what `body` writes, on the same backend
  Body reference;        // or: what the reference runs instead of `body` (a part of a large case)
  bool refused = false;  // or: `body` must end in kInvalidArgument
  bool in_host_memory_only = false;  // a device does not look at what index tensors hold
  std::function<Result<double>(Device&)> statistic;  // or: must not exceed the tolerance
  std::function<Result<Timed>(Device&)> timed;       // a large shape, run with --bench only
};

// Runs `body` once on each backend: what it wrote serves all cases that compare with it. The cases
// are misaligned alike.
Body Once(Body body);

void AddLinearCases(std::vector<Case>& cases);
void AddLoraCases(std::vector<Case>& cases);
void AddGateUpCases(std::vector<Case>& cases);
void AddVaryingCases(std::vector<Case>& cases);
void AddQuantizedCases(std::vector<Case>& cases);
void AddRowCases(std::vector<Case>& cases);
void AddElementwiseCases(std::vector<Case>& cases);
void AddRopeCases(std::vector<Case>& cases);
void AddPagedAttentionCases(std::vector<Case>& cases);
void AddKvCacheCases(std::vector<Case>& cases);
void AddVisionCases(std::vector<Case>& cases);
void AddSamplingCases(std::vector<Case>& cases);
void AddShardSamplingCases(std::vector<Case>& cases);
void AddReplayCases(std::vector<Case>& cases);
void AddRefusedCases(std::vector<Case>& cases);
void AddTimedCases(std::vector<Case>& cases);
void AddTimedQuantizedCases(std::vector<Case>& cases);

// Rounding to the output's dtype: half a unit in the last place, and a whole one where the result
// lies near a tie.
double RoundingOf(DType dtype);

}  // namespace longhand::conformance
