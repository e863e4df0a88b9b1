// MemoryBudget: what a worker's memory goes to, by part, so that it can be printed at start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longhand::model {

struct MemoryBudget {
  struct Part {
    std::string name;  // "KV cache", "decoder workspace"
    int64_t bytes = 0;
  };
  std::vector<Part> parts;

  void Add(std::string name, int64_t bytes) { parts.push_back({std::move(name), bytes}); }
  int64_t total_bytes() const {
    int64_t total = 0;
    for (const Part& part : parts) total += part.bytes;
    return total;
  }
};

// A line for each part and one for the sum, in MiB.
std::string ToTable(const MemoryBudget& budget);

}  // namespace longhand::model
