#include "kernels/emulation/matrix.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "common/fp8.h"
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

// What a register of operands holds: neighbours of k.
struct Bf16Pair {
  static constexpr int kCount = 2;
  static float At(uint32_t word, int i) {
    return std::bit_cast<float>(i == 0 ? word << 16 : word & 0xffff0000u);
  }
};
struct FourFp8 {
  static constexpr int kCount = 4;
  static float At(uint32_t word, int i) {
    Fp8E4M3 element;
    element.bits = static_cast<uint8_t>(word >> 8 * i);
    return static_cast<float>(element);
  }
};

template <typename Register>
void MultiplyAll(void* const (&slots)[32], uint32_t) {
  constexpr int kCount = Register::kCount, kHalf = 4 * kCount, kDepth = 2 * kHalf;
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

// Element (row, k) of a swizzled matrix whose first k is at `begin`.
float SharedAt(const void* begin, int row, int k) {
  constexpr uintptr_t kAtomBytes = 1024, kRowBytes = 128, kChunkBytes = 16;
  const uintptr_t straight =
      reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(row) / 8 * kAtomBytes +
      static_cast<uintptr_t>(row) % 8 * kRowBytes + static_cast<uintptr_t>(k) * 2;
  const uintptr_t address = straight ^ straight / kRowBytes % 8 * kChunkBytes;
  const void* p = reinterpret_cast<const void*>(address);
  CheckShared("wgmma", p, 2, 2);
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

struct SharedSlot {
  float (*d)[4];
  const void* a;
  const void* b;
  bool accumulate;
  int warp;
};

void MultiplySharedAll(void* const (&slots)[32], uint32_t) {
  constexpr int kRows = 16, kColumns = 128, kDepth = 16;
  const auto& first = *static_cast<SharedSlot*>(slots[0]);
  static thread_local float a[kRows][kDepth], b[kDepth][kColumns], d[kRows][kColumns];
  for (int k = 0; k < kDepth; ++k) {
    for (int row = 0; row < kRows; ++row) {
      a[row][k] = SharedAt(first.a, first.warp % 4 * kRows + row, k);
    }
    for (int column = 0; column < kColumns; ++column) b[k][column] = SharedAt(first.b, column, k);
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& slot = *static_cast<SharedSlot*>(slots[lane]);
    if (slot.a != first.a || slot.b != first.b || slot.accumulate != first.accumulate) {
      Fail("wgmma: lanes disagree on its operands");
    }
    for (int j = 0; j < kColumns / 8; ++j) {
      for (int i = 0; i < 4; ++i) {
        d[lane / 4 + i / 2 * 8][8 * j + lane % 4 * 2 + i % 2] = slot.accumulate ? slot.d[j][i] : 0;
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int n = 0; n < kColumns; ++n) d[row][n] = std::fma(a[row][k], b[k][n], d[row][n]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& slot = *static_cast<SharedSlot*>(slots[lane]);
    for (int j = 0; j < kColumns / 8; ++j) {
      for (int i = 0; i < 4; ++i) {
        slot.d[j][i] = d[lane / 4 + i / 2 * 8][8 * j + lane % 4 * 2 + i % 2];
      }
    }
  }
}

// Element (k, column) of a transposed one.
float TransposedAt(const void* begin, int k, int column, int64_t stride) {
  return SharedAt(static_cast<const char*>(begin) + column / 64 * stride, k, column % 64);
}

void DoProduct(const OpenProduct* const (&lanes)[32]) {
  constexpr int kRows = 16, kDepth = 16, kMaxColumns = 256;
  const OpenProduct& first = *lanes[0];
  static thread_local float a[kRows][kDepth], b[kDepth][kMaxColumns], d[kRows][kMaxColumns];
  for (int k = 0; k < kDepth; ++k) {
    for (int row = 0; row < kRows && first.a == nullptr; ++row) {
      a[row][k] = SharedAt(first.shared_a, Position().thread.x / 32 % 4 * kRows + row, k);
    }
    for (int column = 0; column < first.columns; ++column) {
      b[k][column] = first.transposed_stride == 0
                         ? SharedAt(first.b, column, k)
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
        a[lane / 4 + i % 2 * 8][lane % 4 * 2 + i / 2 * 8 + j] = Bf16Pair::At(mine.a[i], j);
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
                  bool accumulate) {
  OpenProducts& products = ProductsOfThread();
  products.list.push_back(
      {d, a, shared_a, b, columns, transposed_stride, accumulate, products.next_group});
}

void CommitProducts() { ++ProductsOfThread().next_group; }

void WaitForProducts(int groups_in_flight) {
  WaitSlot slot{&ProductsOfThread(), groups_in_flight};
  WarpOperation("wgmma.wait_group", kAllLanes, &DoProducts, &slot);
}

void MultiplyShared(float (&d)[16][4], const void* a, const void* b, bool accumulate) {
  SharedSlot slot{d, a, b, accumulate, static_cast<int>(Position().thread.x) / 32};
  WarpOperation("wgmma", kAllLanes, &MultiplySharedAll, &slot);
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

void MultiplyAccumulateFp8(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  MultiplySlot slot{d, a, b};
  WarpOperation("mma.sync fp8", kAllLanes, &MultiplyAll<FourFp8>, &slot);
}

}  // namespace longhand::kernels::emulation
