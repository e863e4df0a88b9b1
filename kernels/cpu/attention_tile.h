// A tile of keys and values of a paged cache: where they are, and how an instruction set S reads
// them. Whoever reads a tile asks for the next one on the way: its rows are far apart, and the
// processor would not guess them.
#pragma once

#include <cstdint>

#include "kernels/cpu/always_inline.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/tile.h"

namespace longhand::kernels::cpu {

inline constexpr int64_t kCacheLineBytes = 64;

// Slots of a tile's keys. Missing keys repeat the last one; what they score is never used.
struct TileSlots {
  int64_t slot[kTileKeys];
  int64_t offset[kTileKeys];  // of the slot's row, in bytes
  int num_keys;

  LONGHAND_INLINE void Find(const AttentionTask& task, int64_t key_begin, int64_t key_end) {
    num_keys = Clamp(key_end - key_begin, kTileKeys);
    int64_t block = 0, within = key_begin;
    if (task.blocks != nullptr) {
      block = key_begin / task.block_size;
      within = key_begin % task.block_size;
    }
    for (int j = 0; j < num_keys; ++j, ++within) {
      if (task.blocks != nullptr && within == task.block_size) {
        ++block;
        within = 0;
      }
      slot[j] = task.blocks == nullptr ? within : task.blocks[block] * task.block_size + within;
    }
    for (int j = num_keys; j < kTileKeys; ++j) slot[j] = slot[num_keys - 1];
    for (int j = 0; j < kTileKeys; ++j) offset[j] = slot[j] * task.slot_bytes;
  }
};

struct TilePair {
  TileSlots now;
  TileSlots next;
};

// How the cache holds elements: so many in a word of 32 bits, and `Part` takes one from each of
// sixteen words.
struct F32Cache {
  static constexpr KvFormat kFormat = KvFormat::kF32;
  static constexpr int kPerWord = 1;
  static constexpr bool kHasScales = false;
  template <typename S, int kPart>
  static LONGHAND_INLINE typename S::F Part(const float* words) {
    return S::Load(words);
  }
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* p, int n) {
    const auto* elements = reinterpret_cast<const float*>(p);
    return n == 16 ? S::Load(elements) : S::Load(elements, n);
  }
};

struct Bf16Cache {
  static constexpr KvFormat kFormat = KvFormat::kBf16;
  static constexpr int kPerWord = 2;
  static constexpr bool kHasScales = false;
  template <typename S, int kPart>
  static LONGHAND_INLINE typename S::F Part(const float* words) {
    return kPart == 0 ? S::LowHalves(words) : S::HighHalves(words);
  }
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* p, int n) {
    const auto* elements = reinterpret_cast<const uint16_t*>(p);
    return n == 16 ? S::LoadBf16(elements) : S::LoadBf16(elements, n);
  }
};

struct Int8Cache {
  static constexpr KvFormat kFormat = KvFormat::kInt8;
  static constexpr int kPerWord = 4;
  static constexpr bool kHasScales = true;
  template <typename S, int kPart>
  static LONGHAND_INLINE typename S::F Part(const float* words) {
    return S::template SignedByte<kPart>(words);
  }
  template <typename S>
  static LONGHAND_INLINE typename S::F Load(const char* p, int n) {
    const auto* elements = reinterpret_cast<const int8_t*>(p);
    return n == 16 ? S::LoadInt8(elements) : S::LoadInt8(elements, n);
  }
};

// Calls take(d, element d of 16 V keys, from the tile's key `begin` on), for d in order.
template <typename S, typename Cache, int V, typename Fn>
LONGHAND_INLINE void ForEachKeyElement(const AttentionTask& task,
                                       const TilePair& tiles,
                                       int64_t begin,
                                       Fn&& take) {
  using F = typename S::F;
  constexpr int kPerWord = Cache::kPerWord;
  constexpr int64_t kBytes = 4 / kPerWord;  // of an element
  const char* rows[16 * V];
  const char* next[16 * V];
  alignas(64) float scales[16 * V];
#pragma GCC unroll 1
  for (int i = 0; i < 16 * V; ++i) {
    rows[i] = task.keys + tiles.now.offset[begin + i];
    next[i] = task.keys + tiles.next.offset[begin + i];
    if constexpr (Cache::kHasScales) {
      scales[i] = task.key_scales[tiles.now.slot[begin + i] * task.scale_stride];
    }
  }
  for (int64_t d = 0; d < task.head_dim; d += 16 * kPerWord) {
    const int words = Clamp(task.head_dim - d, 16 * kPerWord) / kPerWord;
    alignas(64) float square[V][16 * 16];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) S::Transpose(rows + 16 * v, d * kBytes, words, square[v], 16);
    const auto take_part = [&]<int kPart>(int word) LONGHAND_INLINE_LAMBDA {
      F elements[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        elements[v] = Cache::template Part<S, kPart>(square[v] + 16 * word);
        if constexpr (Cache::kHasScales)
          elements[v] = S::Mul(elements[v], S::Load(scales + 16 * v));
      }
      take(d + word * kPerWord + kPart, elements);
    };
    for (int word = 0; word < words; ++word) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) S::PrefetchToL2(next[16 * v + word] + d * kBytes);
      take_part.template operator()<0>(word);
      if constexpr (kPerWord > 1) take_part.template operator()<1>(word);
      if constexpr (kPerWord > 2) {
        take_part.template operator()<2>(word);
        take_part.template operator()<3>(word);
      }
    }
  }
}

// Calls take(key, V vectors of its value from column d on), for the tile's keys in order. kWhole:
// no vector reaches past head_dim.
template <typename S, typename Cache, int V, bool kWhole, typename Fn>
LONGHAND_INLINE void ForEachValue(const AttentionTask& task,
                                  const TilePair& tiles,
                                  int64_t d,
                                  Fn&& take) {
  constexpr int64_t kBytes = 4 / Cache::kPerWord;
  const char* columns = task.values + d * kBytes;
  for (int j = 0; j < tiles.now.num_keys; ++j) {
    const char* row = columns + tiles.now.offset[j];
    const char* next = columns + tiles.next.offset[j];
#pragma GCC unroll 4
    for (int64_t at = 0; at < 16 * V * kBytes; at += kCacheLineBytes) S::PrefetchToL2(next + at);
    typename S::F value[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const int n = kWhole ? 16 : Clamp(task.head_dim - d - 16 * v, 16);
      value[v] = Cache::template Load<S>(row + 16 * v * kBytes, n);
      if constexpr (Cache::kHasScales) {
        const float scale = task.value_scales[tiles.now.slot[j] * task.scale_stride];
        value[v] = S::Mul(value[v], S::Set(scale));
      }
    }
    take(j, value);
  }
}

}  // namespace longhand::kernels::cpu
