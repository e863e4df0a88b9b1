// Runs conformance cases on one backend and keeps a record of each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "tests/conformance/cases.h"

namespace longhand::conformance {

struct Record {
  std::string op;
  std::string name;
  std::string status;  // "pass", "fail" or "unsupported"
  double error = 0;
  double tolerance = 0;
  std::string message;  // why it failed or is unsupported
  // With --bench, for the cases that are timed.
  bool timed = false;
  double ns = 0;  // median
  double best_ns = 0;
  double bytes = 0;
  double flops = 0;
};

// The backend under test, and others like it that must write the same bits: other thread counts,
// other instruction sets.
struct Twin {
  std::string name;
  std::unique_ptr<kernels::Ops> ops;
};
struct Backend {
  // Of the one on a GPU, or emulated; outlives it.
  std::unique_ptr<kernels::KernelNames> launched = std::make_unique<kernels::KernelNames>();
  std::unique_ptr<kernels::Ops> ops;
  std::vector<Twin> twins;
  bool in_host_memory = true;
};

class Runner {
 public:
  Runner(Backend& backend, bool bench);

  // One record, and one for each twin where the case compares values.
  void Run(const Case& test);
  const std::vector<Record>& records() const { return records_; }

 private:
  Record Compare(const Case& test);
  Record CompareBits(const Case& test);
  Record CompareWithTwin(const Case& test, Twin& twin);
  Record CheckRefusal(const Case& test);
  Record CheckStatistic(const Case& test);
  void Time(const Case& test, Record& record);

  Backend& backend_;
  std::unique_ptr<kernels::Ops> reference_;
  bool bench_;
  Outputs last_;  // what the last compared case wrote
  std::vector<Record> records_;
};

// A JSON array with one object for each record.
std::string ToJson(const std::vector<Record>& records);

}  // namespace longhand::conformance
