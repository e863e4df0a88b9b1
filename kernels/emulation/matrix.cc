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

struct StoreSlot {
  void* row;
  const uint32_t* values;
};

template <int kMatrices>
void StoreAllTransposed(void* const (&slots)[32], uint32_t) {
  for (int matrix = 0; matrix < kMatrices; ++matrix) {
    for (int row = 0; row < 8; ++row) {
      uint16_t elements[8];
      for (int column = 0; column < 8; ++column) {
        const auto& lane = *static_cast<StoreSlot*>(slots[column * 4 + row / 2]);
        elements[column] = static_cast<uint16_t>(lane.values[matrix] >> row % 2 * 16);
      }
      void* address = static_cast<StoreSlot*>(slots[matrix * 8 + row])->row;
      CheckShared("stmatrix", address, 16, 16);
      std::memcpy(address, elements, 16);
      NoteWritten(address, 16);
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

float RowAt(const SharedMatrix& matrix, int row, int element, bool is_f16) {
  constexpr uintptr_t kRowBytes = 128, kChunkBytes = 16;
  const uintptr_t straight =
      reinterpret_cast<uintptr_t>(matrix.begin) +
      static_cast<uintptr_t>(row / 8 * matrix.atom_stride + element / 64 * matrix.wide_stride) +
      static_cast<uintptr_t>(row) % 8 * kRowBytes + static_cast<uintptr_t>(element) % 64 * 2;
  const uintptr_t address = straight ^ straight / kRowBytes % 8 * kChunkBytes;
  const void* p = reinterpret_cast<const void*>(address);
  CheckShared("wgmma", p, 2, 2);
  CheckFenced(p);
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return FromBits(bits, is_f16);
}

// Term k of a row of a, or of a column of d.
float SharedAt(const SharedMatrix& matrix, bool is_transposed, int row, int k, bool is_f16) {
  return is_transposed ? RowAt(matrix, k, row, is_f16) : RowAt(matrix, row, k, is_f16);
}

bool SamePlace(const SharedMatrix& a, const SharedMatrix& b) {
  return a.begin == b.begin && a.atom_stride == b.atom_stride && a.wide_stride == b.wide_stride;
}

void DoProduct(const Product* const (&lanes)[32]) {
  constexpr int kRows = 16, kDepth = 16, kMaxColumns = 256;
  const Product& first = *lanes[0];
  const int first_row = static_cast<int>(Position().thread.x) / 32 % 4 * kRows;
  static thread_local float a[kRows][kDepth], b[kDepth][kMaxColumns], d[kRows][kMaxColumns];
  for (int k = 0; k < kDepth; ++k) {
    for (int row = 0; row < kRows && first.a == nullptr; ++row) {
      a[row][k] = SharedAt(first.shared_a, first.is_a_transposed, first_row + row, k, first.is_f16);
    }
    for (int column = 0; column < first.columns; ++column) {
      b[k][column] = SharedAt(first.b, first.is_b_transposed, column, k, first.is_f16);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const Product& mine = *lanes[lane];
    if (!SamePlace(mine.shared_a, first.shared_a) || !SamePlace(mine.b, first.b) ||
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
    const Product* lanes[32];
    for (int lane = 0; lane < 32; ++lane) {
      const auto& list = static_cast<WaitSlot*>(slots[lane])->products->list;
      if (done >= list.size()) Fail("wgmma: lane %d did not take part", lane);
      lanes[lane] = &list[done].product;
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

void BeginProduct(const Product& product) {
  OpenProducts& products = ProductsOfThread();
  products.list.push_back({product, products.next_group});
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

void StoreMatrixTransposed(void* row, const uint32_t* values, int count) {
  StoreSlot slot{row, values};
  WarpOperation("stmatrix.trans", kAllLanes,
                count == 2 ? &StoreAllTransposed<2> : &StoreAllTransposed<4>, &slot);
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
