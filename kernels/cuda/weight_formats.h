// What a block of 16 features and 64 k of a packed weight is in shared memory, and as operand a of
// mma.sync: one struct a format. Where x is bf16, codes become it in registers, exactly but for
// int4's product with its scale, so sums have the order and the bits that bf16 weights of these
// values would give. fp8 codes times rows of fp8 codes both become f16; their products are exact
// too, and summed over the same parts of k.
//
//   X             an element of x
//   Multiply      one step of 16 k
//   kFactor       what sums are to be multiplied by
//   kPairs        of steps in a block
//   kBytes        of a block in memory, kStageBytes in shared memory, where scales may follow
//   Groups        what LoadPair needs to know of a block, loaded once
//   Codes         a block as it is stored, in a lane's registers, and its Pair: what LoadPair gives
//   LoadPair      operand a of two steps: features of the block, the 32 k from 32 pair on
//   kHasRowScale  sums are scaled by feature when they are stored
#pragma once

#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {

struct TimesBf16 {
  using X = DeviceBf16;
  static constexpr int kPairs = 2;
  static constexpr float kFactor = 1;
  static __device__ __forceinline__ void Multiply(float (&sum)[4],
                                                  const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
    MmaBf16(sum, a, b);
  }
};

struct Bf16Weights : TimesBf16 {
  static constexpr int kBytes = kTileBlock * 2;
  static constexpr int kStageBytes = kBytes;
  static constexpr bool kHasRowScale = false;
  struct Groups {
    __device__ Groups(const unsigned char*, int) {}
  };

  struct Codes {
    Codes() = default;
    __device__ __forceinline__ Codes(const unsigned char* block, int lane) {
      LoadPair(block, 0, lane, {block, lane}, a[0]);
      LoadPair(block, 1, lane, {block, lane}, a[1]);
    }
    __device__ __forceinline__ void Pair(int pair, uint32_t (&out)[2][4]) const {
#pragma unroll
      for (int i = 0; i < 8; ++i) out[i / 4][i % 4] = a[pair][i / 4][i % 4];
    }
    uint32_t a[2][2][4];
  };

  static __device__ __forceinline__ void LoadPair(
      const unsigned char* block, int pair, int lane, const Groups&, uint32_t (&a)[2][4]) {
    const auto* tile = reinterpret_cast<const DeviceBf16*>(block);
    const int matrix = lane / 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int chunk = 2 * (2 * pair + half) + matrix / 2;
      LoadMatrixX4<false>(a[half], tile + matrix % 2 * kAtom + SwizzledChunk(lane % 8, chunk));
    }
  }
};

// Lane l's 16 bytes of 32 k are MmaFp8's four registers of a.
struct Fp8Weights {
  using X = DeviceFp8;
  static constexpr int kPairs = 2;
  static constexpr int kBytes = kTileBlock;
  static constexpr int kStageBytes = kBytes;
  static constexpr bool kHasRowScale = true;
  static constexpr float kFactor = kTwoFp8Factors;
  struct Groups {
    __device__ Groups(const unsigned char*, int) {}
  };

  static __device__ __forceinline__ void Multiply(float (&sum)[4],
                                                  const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
    MmaF16(sum, a, b);
  }

  static __device__ __forceinline__ void LoadStep(const unsigned char* block,
                                                  int step,
                                                  int lane,
                                                  uint32_t (&a)[4]) {
    const uint4 codes =
        *reinterpret_cast<const uint4*>(block + (step * kWarpSize + lane) * sizeof(uint4));
    a[0] = codes.x, a[1] = codes.y, a[2] = codes.z, a[3] = codes.w;
  }

  struct Codes {
    Codes() = default;
    __device__ __forceinline__ Codes(const unsigned char* block, int lane) {
      LoadStep(block, 0, lane, words[0]);
      LoadStep(block, 1, lane, words[1]);
    }
    __device__ __forceinline__ void Pair(int pair, uint32_t (&a)[2][4]) const {
#pragma unroll
      for (int i = 0; i < 4; ++i) Fp8ToHalves(words[pair][i], a[0][i], a[1][i]);
    }
    uint32_t words[2][4];
  };

  static __device__ __forceinline__ void LoadPair(
      const unsigned char* block, int pair, int lane, const Groups&, uint32_t (&a)[2][4]) {
    uint32_t codes[4];
    LoadStep(block, pair, lane, codes);
#pragma unroll
    for (int i = 0; i < 4; ++i) Fp8ToHalves(codes[i], a[0][i], a[1][i]);
  }
};

// For devices without fp8 products. Lane l's 16 bytes are a[0][0] to a[1][3]: word 2 half + i has
// a[half][2 i] in its bytes 0 and 2, a[half][2 i + 1] in 1 and 3.
struct WidenedFp8Weights : TimesBf16 {
  static constexpr int kBytes = kTileBlock;
  static constexpr int kStageBytes = kBytes;
  static constexpr bool kHasRowScale = true;
  struct Groups {
    __device__ Groups(const unsigned char*, int) {}
  };

  // The upper byte of each half: its bits as those of a bf16, whose exponent is biased by 120 more.
  static __device__ __forceinline__ uint32_t UpperToBf16(uint32_t word) {
    constexpr uint32_t kTwoTo120 = 0x7b807b80u, kMinusZero = 0x80008000u;
    const uint32_t bits = (word & 0x80008000u) | (word >> 4 & 0x07f007f0u);
    return FmaBf16x2(bits, kTwoTo120, kMinusZero);
  }

  static __device__ __forceinline__ void Widen(const uint4& codes, uint32_t (&a)[2][4]) {
    const uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i / 2][i % 2 * 2] = UpperToBf16(words[i] << 8);
      a[i / 2][i % 2 * 2 + 1] = UpperToBf16(words[i]);
    }
  }

  struct Codes {
    Codes() = default;
    __device__ __forceinline__ Codes(const unsigned char* block, int lane)
        : pairs{reinterpret_cast<const uint4*>(block)[lane],
                reinterpret_cast<const uint4*>(block)[kWarpSize + lane]} {}
    __device__ __forceinline__ void Pair(int pair, uint32_t (&a)[2][4]) const {
      Widen(pairs[pair], a);
    }
    uint4 pairs[2];
  };

  static __device__ __forceinline__ void LoadPair(
      const unsigned char* block, int pair, int lane, const Groups&, uint32_t (&a)[2][4]) {
    Widen(reinterpret_cast<const uint4*>(block)[pair * kWarpSize + lane], a);
  }
};

// Lane l's 8 bytes are a[0] and a[1], a word each: a[half][i] in nibbles i and i + 4. Behind a
// block in shared memory: the words of its group.
struct Int4Weights : TimesBf16 {
  static constexpr int kBytes = kTileBlock / 2;
  static constexpr int kGroupBytes = kTileFeatures * 4;
  static constexpr int kStageBytes = kBytes + kGroupBytes;
  static constexpr bool kHasRowScale = false;
  // Of the features in rows l / 4 and l / 4 + 8 of a, twice each.
  struct Groups {
    __device__ __forceinline__ explicit Groups(const uint2& words) {
      offset[0] = __byte_perm(words.x, 0, 0x1010), scale[0] = __byte_perm(words.x, 0, 0x3232);
      offset[1] = __byte_perm(words.y, 0, 0x1010), scale[1] = __byte_perm(words.y, 0, 0x3232);
    }
    __device__ __forceinline__ Groups(const unsigned char* block, int lane)
        : Groups(reinterpret_cast<const uint2*>(block + kBytes)[lane / 4]) {}
    uint32_t offset[2], scale[2];
  };

  static __device__ __forceinline__ void Widen(const uint2& codes,
                                               const Groups& groups,
                                               uint32_t (&a)[2][4]) {
    constexpr uint32_t kTwoTo127 = 0x7f007f00u, kMinusZero = 0x80008000u;
    const uint32_t words[2] = {codes.x, codes.y};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        // As bits of a bf16 a code is 2^-133 times itself. First 2^-6 (code - zero), exactly.
        const uint32_t code = words[half] >> 4 * i & 0x000f000fu;
        a[half][i] = FmaBf16x2(FmaBf16x2(code, kTwoTo127, groups.offset[i % 2]),
                               groups.scale[i % 2], kMinusZero);
      }
    }
  }

  struct Codes {
    Codes() = default;
    __device__ __forceinline__ Codes(const unsigned char* block, int lane)
        : pairs{reinterpret_cast<const uint2*>(block)[lane],
                reinterpret_cast<const uint2*>(block)[kWarpSize + lane]},
          words(reinterpret_cast<const uint2*>(block + kBytes)[lane / 4]) {}
    __device__ __forceinline__ void Pair(int pair, uint32_t (&a)[2][4]) const {
      Widen(pairs[pair], Groups(words), a);
    }
    uint2 pairs[2], words;
  };

  static __device__ __forceinline__ void LoadPair(
      const unsigned char* block, int pair, int lane, const Groups& groups, uint32_t (&a)[2][4]) {
    Widen(reinterpret_cast<const uint2*>(block)[pair * kWarpSize + lane], groups, a);
  }
};

// A warp's share of copying weights: blocks of one tile, one after the other.
template <typename Format>
class TileCopies {
 public:
  // `tile` of problem's, from `block` on; zeros where it does not exist.
  __device__ TileCopies(const TensorCoreProblem& problem, int64_t tile, int block, int lane)
      : lane_(lane), exists_(tile < CeilDiv(problem.out_features, kTileFeatures)) {
    if (!exists_) tile = 0;
    from_ =
        problem.weight + (tile * problem.parts.num_blocks + block) * Format::kBytes + lane * kPiece;
    if constexpr (Format::kStageBytes > Format::kBytes) {
      blocks_per_group_ = problem.blocks_per_group;
      in_group_ = block % blocks_per_group_;
      words_ = static_cast<const unsigned char*>(problem.scales) +
               (tile * (problem.parts.num_blocks / blocks_per_group_) + block / blocks_per_group_) *
                   kWordBytes +
               lane * kPiece;
    }
  }

  // The next block's, to its place in a stage.
  __device__ __forceinline__ void Copy(unsigned char* to) {
#pragma unroll
    for (int i = 0; i < Format::kBytes / kPiece / kWarpSize; ++i) {
      CopyAsync16(to + (i * kWarpSize + lane_) * kPiece, from_ + i * kWarpSize * kPiece,
                  exists_ ? kPiece : 0);
    }
    from_ += Format::kBytes;
    if constexpr (Format::kStageBytes > Format::kBytes) {
      if (lane_ < kWordBytes / kPiece) {
        CopyAsync16(to + Format::kBytes + lane_ * kPiece, words_, exists_ ? kPiece : 0);
      }
      if (++in_group_ == blocks_per_group_) {
        in_group_ = 0;
        words_ += kWordBytes;
      }
    }
  }

 private:
  static constexpr int kPiece = 16;
  static constexpr int kWordBytes = Format::kStageBytes - Format::kBytes;

  int lane_;
  bool exists_;
  const unsigned char* from_;
  const unsigned char* words_ = nullptr;
  int blocks_per_group_ = 1, in_group_ = 0;
};

}  // namespace longhand::kernels::LONGHAND_DEVICE
