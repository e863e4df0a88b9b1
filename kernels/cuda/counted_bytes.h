// Bytes that are allocated now, and what they were at most; and a count of what is kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace longhand::kernels {

struct ByteCount {
  int64_t now = 0;
  int64_t most = 0;
};

// An allocation's part of a count, which must outlive it.
class CountedBytes {
 public:
  CountedBytes(ByteCount& count, size_t bytes)
      : count_(count), bytes_(static_cast<int64_t>(bytes)) {
    count_.now += bytes_;
    count_.most = std::max(count_.most, count_.now);
  }
  ~CountedBytes() { count_.now -= bytes_; }
  CountedBytes(const CountedBytes&) = delete;
  CountedBytes& operator=(const CountedBytes&) = delete;

 private:
  ByteCount& count_;
  const int64_t bytes_;
};

// One of what is counted, while it lives; the count must outlive it.
class CountedOne {
 public:
  explicit CountedOne(int& count) : count_(count) { ++count_; }
  ~CountedOne() { --count_; }
  CountedOne(const CountedOne&) = delete;
  CountedOne& operator=(const CountedOne&) = delete;

 private:
  int& count_;
};

}  // namespace longhand::kernels
