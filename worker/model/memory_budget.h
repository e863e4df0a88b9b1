// MemoryBudget: what a worker's memory goes to, by part, so that it can be printed at start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longhand::model {

struct MemoryBudget {
  enum class Place : uint8_t {
    kDevice,
    kHost,       // in host memory, which is the device's too unless that is a GPU
    kLibraries,  // kept free for what libraries take, on top of all that the worker may take
  };
  struct Part {
    std::string name;  // "KV cache", "decoder workspace"
    int64_t bytes = 0;
    Place place = Place::kDevice;
  };
  std::vector<Part> parts;
  bool has_own_memory = false;  // a GPU

  // A part of nothing is none.
  void Add(std::string name, int64_t bytes, Place place = Place::kDevice) {
    if (bytes > 0) parts.push_back({std::move(name), bytes, place});
  }
  bool IsOfDevice(const Part& part) const {
    return part.place == Place::kDevice || (part.place == Place::kHost && !has_own_memory);
  }
  // Of the memory of the device.
  int64_t total_bytes() const {
    int64_t total = 0;
    for (const Part& part : parts) total += IsOfDevice(part) ? part.bytes : 0;
    return total;
  }
};

// A line for each part and one for the sum, in MiB; parts in other memory come last.
std::string ToTable(const MemoryBudget& budget);

}  // namespace longhand::model
