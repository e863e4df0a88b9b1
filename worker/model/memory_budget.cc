#include "worker/model/memory_budget.h"

#include <cstdio>

namespace longhand::model {
namespace {

std::string Line(const std::string& name, int64_t bytes, const char* where = "") {
  char line[120];
  std::snprintf(line, sizeof(line), "%-31s %11.1f MiB%s\n", name.c_str(),
                static_cast<double>(bytes) / (1 << 20), where);
  return line;
}

}  // namespace

std::string ToTable(const MemoryBudget& budget) {
  std::string table, others;
  for (const MemoryBudget::Part& part : budget.parts) {
    if (budget.IsOfDevice(part)) {
      table += Line(part.name, part.bytes);
    } else {
      const bool is_host = part.place == MemoryBudget::Place::kHost;
      others += Line(part.name, part.bytes, is_host ? " of the host" : " kept free beside");
    }
  }
  return table + Line("in all", budget.total_bytes()) + others;
}

}  // namespace longhand::model
