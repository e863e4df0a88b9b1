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
    bool is_elsewhere = false;  // in host memory, where the worker's own is a GPU's
  };
  std::vector<Part> parts;

  void Add(std::string name, int64_t bytes, bool is_elsewhere = false) {
    parts.push_back({std::move(name), bytes, is_elsewhere});
  }
  // Of the worker's own memory.
  int64_t total_bytes() const {
    int64_t total = 0;
    for (const Part& part : parts) total += part.is_elsewhere ? 0 : part.bytes;
    return total;
  }
};

// A line for each part and one for the sum, in MiB.
std::string ToTable(const MemoryBudget& budget);

}  // namespace longhand::model
