// SharedSegment: the memory that the ranks of a group on one host exchange data through.
//
// Rank 0 creates it under a name of its own (group and epoch), the others map it, and rank 0 takes
// the name away before anyone is told to go on. From then on the memory lives as long as a process
// that has mapped it, so a killed process leaves nothing behind. A name left by a run that died
// while it formed is replaced, never trusted.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "common/status.h"

namespace longhand::comm {

inline constexpr int kMaxSharedRanks = 64;
// Every rank starts with this event over. Events count modulo 2^32; starting just before the wrap
// lets every run and test pass it.
inline constexpr uint32_t kFirstEvent = 0u - 200u;

// The part of a segment that one rank writes about itself. Its own cache lines: peers poll it.
struct RankControl {
  // The latest event published by this rank (rank_signals.h). Written by the rank.
  alignas(128) std::atomic<uint32_t> progress;
  // What the rank called in its even and odd chunk: peers that called something else report it.
  std::atomic<uint64_t> call[2];
  // The rank sleeps on `doorbell` while `sleeping` is 1; whoever has news adds one and wakes it.
  alignas(128) std::atomic<uint32_t> doorbell;
  std::atomic<uint32_t> sleeping;
  // 1 once the rank has mapped the segment.
  alignas(128) std::atomic<uint32_t> joined;
  // 1 once the rank will never call again.
  std::atomic<uint32_t> left;
};

struct SegmentShape {
  int num_ranks = 0;
  // Bytes of one rank's data slot; a multiple of 4096.
  size_t chunk_bytes = 0;

  friend bool operator==(const SegmentShape&, const SegmentShape&) = default;
};

class SharedSegment {
 public:
  struct Options {
    SegmentShape shape;
    std::string group;  // letters, digits, '-', '_' and '.'; unique among the clusters of the host
    int64_t epoch = 0;
    std::chrono::milliseconds timeout{30'000};
  };

  // Called by every rank of the group; returns when all have mapped the segment. kDeadlineExceeded
  // names who is missing.
  static Result<std::shared_ptr<SharedSegment>> Join(const Options& options,
                                                     int rank,
                                                     std::stop_token stop);
  // The same over plain memory, for ranks that are threads of one process.
  static std::shared_ptr<SharedSegment> InProcess(const SegmentShape& shape);

  ~SharedSegment();
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;

  const SegmentShape& shape() const { return shape_; }
  RankControl& control(int rank);
  // Where `rank` lays out what peers read; `parity` tells two chunks in flight apart. [chunk_bytes]
  std::byte* slot(int rank, int parity);
  // Sums, each rank writing its share. [chunk_bytes]
  std::byte* result(int parity);

 private:
  struct Header;

  SharedSegment(const SegmentShape& shape, void* memory) : shape_(shape), memory_(memory) {}
  static size_t TotalBytes(const SegmentShape& shape);
  static std::shared_ptr<SharedSegment> Map(const SegmentShape& shape, int fd);
  static Result<std::shared_ptr<SharedSegment>> CreateAsRankZero(const Options& options,
                                                                 const std::string& name,
                                                                 std::stop_token stop);
  static Result<std::shared_ptr<SharedSegment>> Attach(const Options& options,
                                                       const std::string& name,
                                                       int rank,
                                                       std::stop_token stop);
  Header& header();
  void Initialise(int64_t epoch);
  std::string MissingRanks();

  const SegmentShape shape_;
  void* const memory_;
};

}  // namespace longhand::comm
