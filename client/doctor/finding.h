// Finding: one line of `longhand doctor`.
#pragma once

#include <string>
#include <vector>

namespace longhand::client {

enum class Verdict { kOk, kWarn, kFail };

struct Finding {
  std::string subject;
  Verdict verdict = Verdict::kOk;
  std::string found;
  std::string advice;  // what to do; empty when all is well
};

using Findings = std::vector<Finding>;

// The worst of them.
Verdict WorstOf(const Findings& findings);

std::string FindingsTable(const Findings& findings, bool is_coloured);
std::string FindingsJson(const Findings& findings);

}  // namespace longhand::client
