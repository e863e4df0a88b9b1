// Host versions of the tensor-core instructions that kernels/cuda/mma.h wraps. A fragment lies in
// the lanes of a warp as PTX lays it out.
#pragma once

#include <cstdint>

namespace longhand::kernels::emulation {

// ldmatrix.x4: lanes 8 i .. 8 i + 7 name the eight 16-byte rows of matrix i in shared memory; lane
// l receives elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each. Transposed, of column l
// / 4.
void LoadMatrixX4(uint32_t (&out)[4], const void* row, bool transposed);

// mma.sync.m16n8k16, bf16: d += a b. f32 sums, over k in order. A device's order within the 16
// terms is its own.
void MultiplyAccumulate(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// The same of f16.
void MultiplyAccumulateF16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// stmatrix.trans.xN, N = 2 or 4: the lanes' registers into matrices in shared memory, from where a
// transposed ldmatrix would load them. Lanes 8 i .. 8 i + 7 name the rows of matrix i.
void StoreMatrixTransposed(void* row, const uint32_t* values, int count);

// A matrix in shared memory as wgmma reads it: rows of 64 elements of 16 bits in atoms of eight
// rows and 1024 bytes, as the 128-byte swizzle lays them.
struct SharedMatrix {
  const void* begin = nullptr;  // of the first k that is multiplied
  int64_t atom_stride = 1024;   // bytes from an atom to that of the next eight rows
  int64_t wide_stride = 0;      // and, transposed, to that of the next 64 elements
};

// wgmma.m64nNk16, bf16 or f16, of N = `columns`: begun, and done when its group is waited for.
// Until then nothing may touch d, the registers of a, or what it reads in shared memory. The rows
// of a matrix are rows of a, or columns of d; of a transposed one they are k.
struct Product {
  float (*d)[4];      // one warp's 16 rows, [columns / 8][4]
  const uint32_t* a;  // one warp's, in registers as mma.sync's; null: shared_a, of all four warps
  SharedMatrix shared_a, b;
  int columns;
  bool accumulate;
  bool is_a_transposed = false, is_b_transposed = false;
  bool is_f16 = false;
};
void BeginProduct(const Product& product);
void CommitProducts();
void WaitForProducts(int groups_in_flight);

}  // namespace longhand::kernels::emulation
