#include "coordinator/engine/row_allocator.h"

#include <iterator>

#include "common/check.h"

namespace longhand::engine {

RowAllocator::RowAllocator(int64_t num_rows) : num_free_(num_rows) {
  if (num_rows > 0) gaps_.emplace(0, num_rows);
}

std::optional<int64_t> RowAllocator::Allocate(int64_t count) {
  for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
    const auto [first_row, length] = *gap;
    if (length < count) continue;
    gaps_.erase(gap);
    if (length > count) gaps_.emplace(first_row + count, length - count);
    num_free_ -= count;
    return first_row;
  }
  return std::nullopt;
}

void RowAllocator::Free(int64_t first_row, int64_t count) {
  auto next = gaps_.lower_bound(first_row);
  LONGHAND_CHECK(next == gaps_.end() || first_row + count <= next->first)
      << "rows " << first_row << " to " << first_row + count << " are freed twice";
  num_free_ += count;
  if (next != gaps_.end() && first_row + count == next->first) {
    count += next->second;
    next = gaps_.erase(next);
  }
  if (next != gaps_.begin()) {
    const auto previous = std::prev(next);
    LONGHAND_CHECK(previous->first + previous->second <= first_row)
        << "rows from " << first_row << " are freed twice";
    if (previous->first + previous->second == first_row) {
      previous->second += count;
      return;
    }
  }
  gaps_.emplace(first_row, count);
}

}  // namespace longhand::engine
