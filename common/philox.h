// Philox4x32-10: counter-based random numbers. A draw is a pure function of its key and counter.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
#pragma once

#include <array>
#include <cstdint>

namespace longhand {

inline std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter,
                                          std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// What a random draw of sampling depends on, and nothing else.
struct DrawKey {
  uint64_t seed = 0;
  uint32_t choice = 0;    // which of `n` answers
  uint32_t attempt = 0;   // raised when an answer is tried again
  uint32_t position = 0;  // index of the generated token
};

// Uniform in [0, 1) with 24 random bits; `draw` numbers the draws of one position.
inline float UniformDraw(const DrawKey& key, uint32_t draw) {
  const auto bits = Philox4x32({key.position, draw, key.choice, key.attempt},
                               {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
  return static_cast<float>(bits[0] >> 8) * 0x1.0p-24f;
}

}  // namespace longhand
