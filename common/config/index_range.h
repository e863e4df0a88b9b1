#pragma once

#include <cstdint>

namespace longhand {

// Indices [begin, end).
struct IndexRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  friend bool operator==(const IndexRange&, const IndexRange&) = default;
};

}  // namespace longhand
