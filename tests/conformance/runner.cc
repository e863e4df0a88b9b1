#include "tests/conformance/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "tests/conformance/compare.h"

namespace longhand::conformance {
namespace {

Record Start(const Case& test) {
  return {.op = test.op, .name = test.name, .tolerance = test.tolerance.value};
}

Record Finish(Record record, double error) {
  record.error = error;
  record.status = error <= record.tolerance ? "pass" : "fail";
  return record;
}

Record Stop(Record record, const Status& status) {
  record.status = status.code() == StatusCode::kUnimplemented ? "unsupported" : "fail";
  record.message = status.ToString();
  return record;
}

// The body's outputs, with guard bands and inputs checked after it.
Result<Outputs> RunBody(kernels::Ops& ops, bool misaligned, const Body& body) {
  Device device(ops, misaligned);
  LONGHAND_ASSIGN_OR_RETURN(Outputs outputs, body(device));
  LONGHAND_RETURN_IF_ERROR(device.CheckIntact());
  return outputs;
}

struct Times {
  double median_ns = 0;
  double best_ns = 0;  // what the code can do when nobody else wants the cores
};

// Repeats for a third of a second, at least five times.
Times Measure(const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  run();
  const auto end = Clock::now() + std::chrono::milliseconds(333);
  while (times.size() < 5 || (Clock::now() < end && times.size() < 10000)) {
    const auto begin = Clock::now();
    run();
    times.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[0]};
}

}  // namespace

Runner::Runner(Backend& backend, bool bench)
    : backend_(backend), reference_(kernels::CreateReferenceOps()), bench_(bench) {}

Record Runner::Compare(const Case& test) {
  Record record = Start(test);
  Result<Outputs> actual = RunBody(*backend_.ops, test.misaligned, test.body);
  if (!actual.ok()) return Stop(record, actual.status());
  // The reference beside itself would only take twice as long.
  if (!test.reference && backend_.ops->name() == reference_->name()) return Finish(record, 0);
  const Body& expected_body = test.reference ? test.reference : test.body;
  Result<Outputs> expected = RunBody(*reference_, test.misaligned, expected_body);
  if (!expected.ok()) return Stop(record, expected.status().WithContext("reference"));
  last_ = std::move(*actual);
  return Finish(record, ErrorOf(last_, *expected, test.tolerance.metric));
}

Record Runner::CompareBits(const Case& test) {
  Record record = Start(test);
  Result<Outputs> actual = RunBody(*backend_.ops, test.misaligned, test.body);
  if (!actual.ok()) return Stop(record, actual.status());
  Result<Outputs> expected = RunBody(*backend_.ops, test.misaligned, test.same_bits);
  if (!expected.ok()) return Stop(record, expected.status());
  last_ = std::move(*actual);
  return Finish(record, DifferentBytes(last_, *expected));
}

Record Runner::CompareWithTwin(const Case& test, Twin& twin) {
  Record record = Start(test);
  record.name += " = " + twin.name;
  record.tolerance = 0;
  Result<Outputs> other = RunBody(*twin.ops, test.misaligned, test.body);
  if (!other.ok()) return Stop(record, other.status());
  return Finish(record, DifferentBytes(*other, last_));
}

Record Runner::CheckRefusal(const Case& test) {
  Record record = Start(test);
  if (test.in_host_memory_only && !backend_.in_host_memory) {
    return Stop(record, Unimplemented("index tensors in device memory are trusted"));
  }
  Device device(*backend_.ops);
  const Result<Outputs> outputs = test.body(device);
  if (outputs.ok()) return Stop(record, Internal("accepted"));
  if (outputs.status().code() != StatusCode::kInvalidArgument) {
    return Stop(record, Internal("ended in ", outputs.status().ToString()));
  }
  const Status intact = device.CheckIntact();
  if (!intact.ok()) return Stop(record, intact);
  record.message = outputs.status().message();
  return Finish(record, 0);
}

Record Runner::CheckStatistic(const Case& test) {
  Record record = Start(test);
  Device device(*backend_.ops);
  const Result<double> statistic = test.statistic(device);
  return statistic.ok() ? Finish(record, *statistic) : Stop(record, statistic.status());
}

void Runner::Time(const Case& test, Record& record) {
  Device device(*backend_.ops);
  Result<Timed> timed = test.timed(device);
  if (!timed.ok()) {
    record = Stop(record, timed.status());
    return;
  }
  Status status;
  const Times times = Measure([&] {
    Status one = timed->run();
    if (one.ok()) one = backend_.ops->Synchronize();
    if (!one.ok()) status = one;
  });
  if (!status.ok()) {
    record = Stop(record, status);
    return;
  }
  record.timed = true;
  record.ns = times.median_ns;
  record.best_ns = times.best_ns;
  record.bytes = timed->bytes;
  record.flops = timed->flops;
}

void Runner::Run(const Case& test) {
  if (test.timed && !bench_) return;
  if (test.refused) {
    records_.push_back(CheckRefusal(test));
    return;
  }
  if (test.statistic) {
    records_.push_back(CheckStatistic(test));
    return;
  }
  Record record = test.same_bits ? CompareBits(test) : Compare(test);
  if (test.timed && record.status == "pass") Time(test, record);
  records_.push_back(record);
  // A timed case is large, and its sizes add nothing that the others lack.
  if (record.status != "pass" || test.timed) return;
  for (Twin& twin : backend_.twins) records_.push_back(CompareWithTwin(test, twin));
}

}  // namespace longhand::conformance
