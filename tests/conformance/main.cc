// conformance --backend reference|cpu|emulated|cuda [--op NAME] [--bench] [--threads N]
//             [--schedule-seed N] [--case TEXT] [--max-cases N] [--first N]
//             [--progress] [--untimed] [--json FILE]
// conformance --list
//
// Runs every operation of one backend against the reference. Exit 0: all passed; 1: something
// failed; 2: usage, or the backend is not here. A fault of a device ends the process: --progress
// names each case before it runs, and behind it the kernels that none before launched; --first goes
// on behind a case. --untimed: a GPU gets the kernels that may be quicker, and does not time them
// first, which takes minutes under compute-sanitizer. --case takes those whose names hold the text.
// --max-cases takes so many of each operation, evenly spread. --list prints the operations and how
// many cases each has.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "tests/conformance/backends.h"
#include "tests/conformance/roof.h"

namespace longhand::conformance {
namespace {

struct Options {
  std::string backend, op, text, json;
  bool bench = false, progress = false, untimed = false, list = false;
  uint64_t schedule_seed = 0;
  size_t max_cases = 0, first = 0;  // max_cases: 0 is all
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

Result<Options> ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    bool* given = flag == "--bench"      ? &options.bench
                  : flag == "--progress" ? &options.progress
                  : flag == "--untimed"  ? &options.untimed
                  : flag == "--list"     ? &options.list
                                         : nullptr;
    if (given != nullptr) {
      *given = true;
      continue;
    }
    if (i + 1 == argc) return InvalidArgument(flag, " is not a flag, or lacks its value");
    const std::string value = argv[++i];
    if (flag == "--backend") {
      options.backend = value;
    } else if (flag == "--op") {
      options.op = value;
    } else if (flag == "--case") {
      options.text = value;
    } else if (flag == "--json") {
      options.json = value;
    } else if (flag == "--threads") {
      options.threads = std::atoi(value.c_str());
    } else if (flag == "--schedule-seed") {
      options.schedule_seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (flag == "--max-cases") {
      options.max_cases = std::strtoull(value.c_str(), nullptr, 10);
    } else if (flag == "--first") {
      options.first = std::strtoull(value.c_str(), nullptr, 10);
    } else {
      return InvalidArgument(flag, " is not a flag");
    }
  }
  if (options.backend.empty() && !options.list) return InvalidArgument("--backend is missing");
  return options;
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  AddLinearCases(cases);
  AddGateUpCases(cases);
  AddLoraCases(cases);
  AddVaryingCases(cases);
  AddQuantizedCases(cases);
  AddRowCases(cases);
  AddReplayCases(cases);
  AddElementwiseCases(cases);
  AddRopeCases(cases);
  AddPagedAttentionCases(cases);
  AddKvCacheCases(cases);
  AddVisionCases(cases);
  AddSamplingCases(cases);
  AddShardSamplingCases(cases);
  AddRefusedCases(cases);
  AddTimedCases(cases);
  AddTimedQuantizedCases(cases);
  return cases;
}

// At most `max_cases` of each operation, evenly spread; refusals run nothing on a device.
void Thin(size_t max_cases, std::vector<Case>& cases) {
  std::erase_if(cases, [](const Case& test) { return test.refused; });
  std::map<std::string, size_t> total, seen;
  for (const Case& test : cases) ++total[test.op];
  std::erase_if(cases, [&](const Case& test) {
    const size_t i = seen[test.op]++, count = total[test.op];
    return count > max_cases && i * max_cases / count == (i + 1) * max_cases / count;
  });
}

int List() {
  std::map<std::string, int> counts;
  for (const Case& test : AllCases()) counts[test.op] += test.timed ? 0 : 1;
  for (const auto& [op, count] : counts) std::printf("%s %d\n", op.c_str(), count);
  return 0;
}

// One line for what failed and what was timed; the rest is in the summary and the JSON.
void Print(const Record& record) {
  if (record.status == "fail") {
    std::printf("FAIL %s, %s: error %.3g, tolerance %.3g %s\n", record.op.c_str(),
                record.name.c_str(), record.error, record.tolerance, record.message.c_str());
  }
  if (!record.timed) return;
  std::printf("%-15s %-70s", record.op.c_str(), record.name.c_str());
  for (const double ns : {record.ns, record.best_ns}) {
    std::printf(" %s %9.1f us", ns == record.ns ? "median" : "best", ns / 1e3);
    if (record.bytes > 0) std::printf(" %6.2f GB/s", record.bytes / ns);
    if (record.flops > 0) std::printf(" %6.1f GFLOP/s", record.flops / ns);
  }
  std::printf("\n");
  std::fflush(stdout);
}

// Returns whether nothing failed.
bool PrintSummary(const std::vector<Record>& records) {
  std::map<std::string, std::map<std::string, int>> counts;
  bool passed = true;
  for (const Record& record : records) {
    ++counts[record.op][record.status];
    passed = passed && record.status != "fail";
  }
  for (auto& [op, by_status] : counts) {
    std::printf("%-16s %5d pass %5d fail %5d unsupported\n", op.c_str(), by_status["pass"],
                by_status["fail"], by_status["unsupported"]);
  }
  return passed;
}

int Run(const Options& options) {
  Result<Backend> backend =
      MakeBackend(options.backend, options.threads, options.schedule_seed, !options.untimed);
  if (!backend.ok()) {
    std::cerr << "conformance: " << backend.status().message() << "\n";
    return 2;
  }
  std::vector<Case> cases = AllCases();
  if (!options.op.empty()) {
    std::erase_if(cases, [&](const Case& test) { return test.op != options.op; });
    if (cases.empty()) {
      std::cerr << "conformance: no operation is called \"" << options.op
                << "\"; --list shows them\n";
      return 2;
    }
  }
  std::erase_if(cases, [&](const Case& test) {
    return test.name.find(options.text) == std::string::npos || (test.timed && !options.bench);
  });
  if (cases.empty() && !options.text.empty()) {
    std::cerr << "conformance: no such case has \"" << options.text << "\" in its name\n";
    return 2;
  }
  if (options.max_cases > 0) Thin(options.max_cases, cases);
  std::printf("backend %s, %d threads; every case has its seed in its source, 11 to 85\n",
              options.backend.c_str(), options.threads);
  std::vector<Record> records;
  if (options.bench) records = MeasureRoof(options.threads);
  for (const Record& record : records) Print(record);
  Runner runner(*backend, options.bench);
  kernels::KernelNames named;
  for (size_t n = options.first; n < cases.size(); ++n) {
    if (options.progress) {
      std::printf("case %zu %s\n", n, cases[n].name.c_str());
      std::fflush(stdout);
    }
    const size_t before = runner.records().size();
    runner.Run(cases[n]);
    for (size_t i = before; i < runner.records().size(); ++i) {
      Print(runner.records()[i]);
      records.push_back(runner.records()[i]);
    }
    if (!options.progress) continue;
    for (const std::string_view name : *backend->launched) {
      if (named.insert(name).second) std::printf("kernel %s\n", std::string(name).c_str());
    }
    std::fflush(stdout);
    // The file is there also when a later case ends the process.
    if (!options.json.empty()) std::ofstream(options.json) << ToJson(records);
  }
  const bool passed = PrintSummary(records);
  if (const std::string found = backend->ops->TrialResults(); !found.empty()) {
    std::printf("%s\n", found.c_str());
  }
  if (!options.json.empty()) {
    std::ofstream out(options.json);
    out << ToJson(records);
    if (!out.flush()) {
      std::cerr << "conformance: cannot write " << options.json << "\n";
      return 1;
    }
  }
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace longhand::conformance

int main(int argc, char** argv) {
  using namespace longhand::conformance;
  constexpr const char* kUsage =
      "usage: conformance --backend reference|cpu|emulated|cuda [--op NAME] [--bench] "
      "[--threads N] [--schedule-seed N] [--case TEXT] [--max-cases N] [--first N] "
      "[--progress] [--untimed] [--json FILE]\n       conformance --list\n";
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::cout << kUsage;
    return 0;
  }
  const auto options = ParseOptions(argc, argv);
  if (!options.ok()) {
    std::cerr << "conformance: " << options.status().message() << "\n" << kUsage;
    return 2;
  }
  if (options->list) return List();
  return Run(*options);
}
