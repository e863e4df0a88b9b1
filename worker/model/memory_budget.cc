#include "worker/model/memory_budget.h"

#include <cstdio>

namespace longhand::model {
namespace {

std::string Line(const std::string& name, int64_t bytes) {
  char line[80];
  std::snprintf(line, sizeof(line), "%-28s %12.1f MiB\n", name.c_str(),
                static_cast<double>(bytes) / (1 << 20));
  return line;
}

}  // namespace

std::string ToTable(const MemoryBudget& budget) {
  std::string table;
  for (const MemoryBudget::Part& part : budget.parts) table += Line(part.name, part.bytes);
  return table + Line("in all", budget.total_bytes());
}

}  // namespace longhand::model
