// How a launch of linear_wgmma.cu is cut into what blocks do one after the other.
#pragma once

#include <algorithm>

#include "kernels/cuda/linear_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kWgmmaFeatures = 128;  // of a tile

// Tiles whose k's one block takes, then parts of the others.
struct WgmmaUnits {
  int token_tiles, feature_tiles;
  int num_whole, num_units;
  Meetings meetings;  // of the others: [tiles], [tiles][num_parts][sums of all threads]
};

struct WgmmaUnit {
  int64_t first_token, first_feature;
  int meeting;  // where the parts of its tile meet; -1: it has all parts
  int first_part, end_part;
};

// Blocks that run at one time share tokens and features, which then come from L2 once for many:
// bands of so many token tiles, and in a band all token tiles of a feature tile first.
constexpr int kWgmmaBand = 16;

// A way to cut, and the time that it is expected to take.
struct WgmmaCut {
  WgmmaUnits units;
  double ns;
};

// Of tiles of `tokens`, with `places` blocks at a time: all of them whole, or those of full rounds,
// or none, whichever is expected to be the fastest. `weight_bytes` of a stage. The constants were
// fitted to an H200's times (docs/kernels.md).
inline WgmmaCut CutFor(const TensorCoreProblem& problem, int tokens, int weight_bytes, int places) {
  // Nanoseconds of a stage, so many more a token, of which this share is the same however many
  // blocks multiply; of a tile's end for each token; of a part's end.
  constexpr double kStage = 90, kToken = 2.2, kAlone = 0.8, kEnd = 3.3, kPartEnd = 1600;
  // Bytes a nanosecond: from memory; a block's sums of a part, and all blocks'; those that one
  // adds.
  constexpr double kMemory = 4700, kPartSums = 24, kAllSums = 2000, kAddedSums = 240;
  // More sums would not stay in L2 beside the weights.
  constexpr int64_t kMostSums = int64_t{24} << 20;
  static_assert(kMostSums <= static_cast<int64_t>(kMaxSumsBytes));

  const KParts& parts = problem.parts;
  WgmmaUnits units = {};
  units.token_tiles = static_cast<int>(CeilDiv(problem.num_tokens, tokens));
  units.feature_tiles = static_cast<int>(CeilDiv(problem.out_features, kWgmmaFeatures));
  const int num_tiles = units.token_tiles * units.feature_tiles;
  const int64_t tile_sums = int64_t{tokens} * kWgmmaFeatures * static_cast<int>(sizeof(float));
  // So many units, which take `end` each besides their stages.
  const auto rounds = [&](int64_t count, int num_blocks, double end) {
    // Token tiles that run together share what memory brings.
    const auto round = [&](int64_t active) {
      const auto blocks = static_cast<double>(active);
      const double multiply = kStage + kToken * tokens * (kAlone + (1 - kAlone) * blocks / places);
      const double memory = weight_bytes * blocks /
                            static_cast<double>(std::min<int64_t>(units.token_tiles, active)) /
                            kMemory;
      return std::max(multiply, memory) * num_blocks + end;
    };
    double ns = static_cast<double>(count / places) * round(places);
    if (count % places > 0) ns += round(count % places);
    return ns;
  };
  WgmmaCut best = {units, 0};
  for (const int whole : {num_tiles, num_tiles / places * places, 0}) {
    const int apart = num_tiles - whole;
    const int64_t sums = apart * parts.num_parts * tile_sums;
    if (apart > 0 && (parts.num_parts == 1 || apart > kMaxMeetings || sums > kMostSums)) continue;
    double ns = rounds(whole, parts.num_blocks, kEnd * tokens);
    if (apart > 0) {
      const auto bytes = static_cast<double>(tile_sums);
      ns += rounds(int64_t{apart} * parts.num_parts, parts.blocks_per_part,
                   kPartEnd + bytes / kPartSums) +
            kEnd * tokens + parts.num_parts * bytes / kAddedSums +
            static_cast<double>(sums) / kAllSums;
    }
    if (best.ns > 0 && ns >= best.ns) continue;
    units.num_whole = whole;
    units.num_units = whole + apart * parts.num_parts;
    best = {units, ns};
  }
  return best;
}

template <int kTokens>
__device__ __forceinline__ WgmmaUnit UnitAt(const WgmmaUnits& units, const KParts& parts, int idx) {
  WgmmaUnit unit = {.meeting = -1, .first_part = 0, .end_part = parts.num_parts};
  int tile = idx;
  if (idx >= units.num_whole) {
    const int rest = idx - units.num_whole, tile_of_parts = rest / parts.num_parts;
    unit.first_part = rest - tile_of_parts * parts.num_parts;
    unit.end_part = unit.first_part + 1;
    unit.meeting = tile_of_parts;
    tile = units.num_whole + tile_of_parts;
  }
  const int in_band = kWgmmaBand * units.feature_tiles, band = tile / in_band;
  const int width = min(kWgmmaBand, units.token_tiles - band * kWgmmaBand);
  const int within = tile - band * in_band, feature_tile = within / width;
  unit.first_token =
      static_cast<int64_t>(band * kWgmmaBand + within - feature_tile * width) * kTokens;
  unit.first_feature = static_cast<int64_t>(feature_tile) * kWgmmaFeatures;
  return unit;
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
