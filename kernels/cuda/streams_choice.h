// How linear_streams.cu cuts a weight: by the time that it expects.
#pragma once

#include <algorithm>

#include "kernels/cuda/streams.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kRingStages = 4;
constexpr int kXAlignment = kAtom * static_cast<int>(sizeof(DeviceBf16));
// Of x in shared memory, 64 k.
template <int kTokens>
constexpr int kXBlockBytes = kTokens * kBlockK * static_cast<int>(sizeof(DeviceBf16));

// Whose sums fit the registers.
template <int kTokens>
constexpr int kMaxWarps = kTokens <= 16   ? 16
                          : kTokens <= 32 ? 12
                                          : 8;

struct StreamsProblem {
  const TensorCoreProblem& problem;
  int num_multiprocessors;
  int shared_bytes;  // that a block may have
  int tokens, max_warps;
  int block_bytes;  // of weights: 16 features and 64 k
  int ring_bytes;   // of a warp
};

struct StreamsChoice {
  Streams streams;
  int num_blocks, num_warps, shared_bytes;
  double ns = 1e30;  // that it is expected to take
};

// All parts of some features; any parts of any; one part.
enum class Cut { kTogether, kByParts, kApart };

inline StreamsChoice Consider(const StreamsProblem& of, Cut cut) {
  // Bytes a nanosecond that memory brings to a multiprocessor, and ns until it does, under load; a
  // warp alone, for 64 k; a meeting; a window of x.
  constexpr double kMemory = 34, kLatency = 1500, kBlock = 250, kMeeting = 3000, kWindow = 1200;
  constexpr int kLeastWarps = 4;
  const KParts& parts = of.problem.parts;
  const int x_block_bytes = of.tokens * kBlockK * static_cast<int>(sizeof(DeviceBf16));
  StreamsChoice best;
  Streams streams = {};
  streams.num_tiles = static_cast<int>(CeilDiv(of.problem.out_features, kTileFeatures));
  streams.by_parts = cut != Cut::kTogether;
  streams.num_units = streams.num_tiles * (streams.by_parts ? parts.num_parts : 1);
  const int64_t sums_bytes =
      int64_t{streams.num_tiles} * parts.num_parts * kTileFeatures * of.tokens * 4;
  if (streams.by_parts && (parts.num_parts == 1 || streams.num_tiles > kMaxMeetings ||
                           sums_bytes > static_cast<int64_t>(kMaxSumsBytes))) {
    return best;
  }
  int num_blocks = std::min(of.num_multiprocessors, streams.num_units);
  int among = streams.num_units, sharers = num_blocks, x_parts = parts.num_parts;
  if (cut == Cut::kApart) {
    streams.blocks_per_part = std::min(of.num_multiprocessors / parts.num_parts, streams.num_tiles);
    if (streams.blocks_per_part == 0) return best;
    num_blocks = streams.blocks_per_part * parts.num_parts;
    among = streams.num_tiles, sharers = streams.blocks_per_part, x_parts = 1;
  }
  streams.units_per_block = among / sharers, streams.blocks_with_more = among % sharers;
  const int units = streams.units_per_block + (streams.blocks_with_more > 0 ? 1 : 0);  // at most
  if (cut == Cut::kByParts) {
    x_parts = std::min(x_parts, (units + 2 * streams.num_tiles - 2) / streams.num_tiles);
  }
  const int k_blocks = streams.by_parts ? parts.blocks_per_part : parts.num_blocks;
  const int room = of.shared_bytes - kXAlignment;
  streams.x_blocks = std::min(x_parts * parts.blocks_per_part, parts.num_blocks);
  const int most_x_blocks = (room - kLeastWarps * of.ring_bytes) / x_block_bytes;
  if (streams.x_blocks > most_x_blocks) {
    if (cut == Cut::kByParts) return best;
    constexpr int kMostStageBlocks = 4;
    streams.is_windowed = true;
    streams.x_blocks =
        std::min(most_x_blocks, (room - 2 * kLeastWarps * of.ring_bytes) / x_block_bytes);
    if (streams.x_blocks < kMostStageBlocks) streams.x_blocks = most_x_blocks;
    streams.x_blocks = streams.x_blocks / kMostStageBlocks * kMostStageBlocks;
  }
  const int x_bytes = streams.x_blocks * x_block_bytes;
  const int most_warps = std::min(of.max_warps, (room - x_bytes) / of.ring_bytes);
  for (int warps = kLeastWarps; warps <= most_warps; ++warps) {
    const double rate = std::min(kMemory, warps * of.ring_bytes / kLatency);
    const auto rounds = static_cast<double>(CeilDiv(units, warps));
    double ns = rounds * k_blocks * std::max(kBlock, warps * of.block_bytes / rate);
    if (streams.by_parts) ns += kMeeting;
    if (streams.is_windowed) {
      ns += kWindow * rounds * static_cast<double>(CeilDiv(k_blocks, streams.x_blocks));
    }
    if (ns < best.ns) {
      best = {streams, num_blocks, warps, kXAlignment + x_bytes + warps * of.ring_bytes, ns};
    }
  }
  return best;
}

inline StreamsChoice Choose(const StreamsProblem& of) {
  StreamsChoice best;
  for (const Cut cut : {Cut::kTogether, Cut::kByParts, Cut::kApart}) {
    const StreamsChoice choice = Consider(of, cut);
    if (choice.ns < best.ns) best = choice;
  }
  return best;
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
