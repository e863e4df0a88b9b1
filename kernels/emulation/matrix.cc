#include "kernels/emulation/matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/emulation/grid.h"

namespace longhand::kernels::emulation {
namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;

struct LoadSlot {
  uint32_t* out;
  const void* row;
};

template <bool kTransposed>
void LoadAll(void* const (&slots)[32], uint32_t) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* address = static_cast<LoadSlot*>(slots[matrix * 8 + row])->row;
      CheckShared("ldmatrix", address, 16, 16);
      std::memcpy(elements[row], address, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int i = lane / 4, j = lane % 4 * 2;
      const uint16_t low = kTransposed ? elements[j][i] : elements[i][j];
      const uint16_t high = kTransposed ? elements[j + 1][i] : elements[i][j + 1];
      static_cast<LoadSlot*>(slots[lane])->out[matrix] = low | uint32_t{high} << 16;
    }
  }
}

struct MultiplySlot {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// What a register of operands holds: two neighbours of k.
struct Bf16Pair {
  static float At(uint32_t word, int i) {
    return std::bit_cast<float>(i == 0 ? word << 16 : word & 0xffff0000u);
  }
};
struct F16Pair {
  static float At(uint32_t word, int i) {
    const uint32_t bits = word >> 16 * i & 0xffffu;
    const int exponent = static_cast<int>(bits >> 10 & 31u);
    const auto mantissa = static_cast<float>(bits & 1023u);
    float magnitude =
        std::ldexp(exponent == 0 ? mantissa : mantissa + 1024, std::max(exponent, 1) - 25);
    if (exponent == 31) magnitude = mantissa == 0 ? INFINITY : NAN;
    return bits >> 15 == 0 ? magnitude : -magnitude;
  }
};

template <typename Register>
void MultiplyAll(void* const (&slots)[32], uint32_t) {
  constexpr int kCount = 2, kHalf = 4 * kCount, kDepth = 2 * kHalf;
  float a[16][kDepth], b[kDepth][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& slot = *static_cast<MultiplySlot*>(slots[lane]);
    const int group = lane / 4, pair = lane % 4 * 2, first_k = lane % 4 * kCount;
    for (int j = 0; j < kCount; ++j) {
      for (int i = 0; i < 4; ++i) {
        a[group + i % 2 * 8][first_k + i / 2 * kHalf + j] = Register::At(slot.a[i], j);
      }
      for (int i = 0; i < 2; ++i) b[first_k + i * kHalf + j][group] = Register::At(slot.b[i], j);
    }
    for (int i = 0; i < 4; ++i) d[group + i / 2 * 8][pair + i % 2] = slot.d[i];
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int n = 0; n < 8; ++n) d[row][n] = std::fma(a[row][k], b[k][n], d[row][n]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& slot = *static_cast<MultiplySlot*>(slots[lane]);
    for (int i = 0; i < 4; ++i) slot.d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

float F16ToFloat(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return bits >> 15 != 0 ? -magnitude : magnitude;
}

float FromBits(uint16_t bits, bool is_f16) {
  return is_f16 ? F16ToFloat(bits) : std::bit_cast<float>(uint32_t{bits} << 16);
}

// Element (row, k) of a swizzled matrix whose first k is at `begin`.
float SharedAt(const void* begin, int row, int k, bool is_f16) {
  constexpr uintptr_t kAtomBytes = 1024, kRowBytes = 128, kChunkBytes = 16;
  const uintptr_t straight =
      reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(row) / 8 * kAtomBytes +
      static_cast<uintptr_t>(row) % 8 * kRowBytes + static_cast<uintptr_t>(k) * 2;
  const uintptr_t address = straight ^ straight / kRowBytes % 8 * kChunkBytes;
  const void* p = reinterpret_cast<const void*>(address);
  CheckShared("wgmma", p, 2, 2);
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return FromBits(bits, is_f16);
}

// Element (k, column) of a transposed one.
float TransposedAt(const void* begin, int k, int column, int64_t stride) {
  return SharedAt(static_cast<const char*>(begin) + column / 64 * stride, k, column % 64,
                  /*is_f16=*/false);
}

void DoProduct(const OpenProduct* const (&lanes)[32]) {
  constexpr int kRows = 16, kDepth = 16, kMaxColumns = 256;
  const OpenProduct& first = *lanes[0];
  static thread_local float a[kRows][kDepth], b[kDepth][kMaxColumns], d[kRows][kMaxColumns];
  for (int k = 0; k < kDepth; ++k) {
    for (int row = 0; row < kRows && first.a == nullptr; ++row) {
      a[row][k] =
          SharedAt(first.shared_a, static_cast<int>(Position().thread.x) / 32 % 4 * kRows + row, k,
                   first.is_f16);
    }
    for (int column = 0; column < first.columns; ++column) {
      b[k][column] = first.transposed_stride == 0
                         ? SharedAt(first.b, column, k, first.is_f16)
                         : TransposedAt(first.b, k, column, first.transposed_stride);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const OpenProduct& mine = *lanes[lane];
    if (mine.shared_a != first.shared_a || mine.b != first.b ||
        mine.accumulate != first.accumulate || mine.columns != first.columns) {
      Fail("wgmma: lanes disagree on its operands");
    }
    for (int i = 0; i < 4 && mine.a != nullptr; ++i) {
      for (int j = 0; j < 2; ++j) {
        a[lane / 4 + i % 2 * 8][lane % 4 * 2 + i / 2 * 8 + j] =
            FromBits(static_cast<uint16_t>(mine.a[i] >> 16 * j), first.is_f16);
      }
    }
    for (int j = 0; j < first.columns / 8; ++j) {
      for (int i = 0; i < 4; ++i) {
        d[lane / 4 + i / 2 * 8][8 * j + lane % 4 * 2 + i % 2] = mine.accumulate ? mine.d[j][i] : 0;
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int n = 0; n < first.columns; ++n) d[row][n] = std::fma(a[row][k], b[k][n], d[row][n]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int j = 0; j < first.columns / 8; ++j) {
      for (int i = 0; i < 4; ++i) {
        lanes[lane]->d[j][i] = d[lane / 4 + i / 2 * 8][8 * j + lane % 4 * 2 + i % 2];
      }
    }
  }
}

struct WaitSlot {
  OpenProducts* products;
  int groups_in_flight;
};

void DoProducts(void* const (&slots)[32], uint32_t) {
  const auto& first = *static_cast<WaitSlot*>(slots[0]);
  const int end = first.products->next_group - first.groups_in_flight;
  size_t done = 0;
  while (done < first.products->list.size() && first.products->list[done].group < end) {
    const OpenProduct* lanes[32];
    for (int lane = 0; lane < 32; ++lane) {
      const auto& list = static_cast<WaitSlot*>(slots[lane])->products->list;
      if (done >= list.size()) Fail("wgmma: lane %d did not take part", lane);
      lanes[lane] = &list[done];
    }
    DoProduct(lanes);
    ++done;
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto& list = static_cast<WaitSlot*>(slots[lane])->products->list;
    list.erase(list.begin(), list.begin() + static_cast<int64_t>(done));
  }
}

}  // namespace

void BeginProduct(float (*d)[4],
                  const uint32_t* a,
                  const void* shared_a,
                  const void* b,
                  int columns,
                  int64_t transposed_stride,
                  bool accumulate,
                  bool is_f16) {
  OpenProducts& products = ProductsOfThread();
  products.list.push_back(
      {d, a, shared_a, b, columns, transposed_stride, accumulate, is_f16, products.next_group});
}

void CommitProducts() { ++ProductsOfThread().next_group; }

void WaitForProducts(int groups_in_flight) {
  WaitSlot slot{&ProductsOfThread(), groups_in_flight};
  WarpOperation("wgmma.wait_group", kAllLanes, &DoProducts, &slot);
}

void LoadMatrixX4(uint32_t (&out)[4], const void* row, bool transposed) {
  LoadSlot slot{out, row};
  WarpOperation(transposed ? "ldmatrix.trans" : "ldmatrix", kAllLanes,
                transposed ? &LoadAll<true> : &LoadAll<false>, &slot);
}

void MultiplyAccumulate(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  MultiplySlot slot{d, a, b};
  WarpOperation("mma.sync", kAllLanes, &MultiplyAll<Bf16Pair>, &slot);
}

void MultiplyAccumulateF16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  MultiplySlot slot{d, a, b};
  WarpOperation("mma.sync f16", kAllLanes, &MultiplyAll<F16Pair>, &slot);
}

}  // namespace longhand::kernels::emulation
