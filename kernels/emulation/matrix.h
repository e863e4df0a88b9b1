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

// wgmma.m64nNk16, bf16 or f16, of N = `columns`: begun, and done when its group is waited for.
// Until then nothing may touch d, the registers of a, or what it reads in shared memory. One warp's
// 16 rows: d[columns / 8][4]. a: its fragment in registers, as mma.sync's; or null, and `shared_a`:
// rows of 64 k in atoms of 8 rows and 1024 bytes, as the 128-byte swizzle lays them, from the first
// of the 16 k on. b: rows of k as above, where transposed_stride is 0. Else b is transposed: each
// of its rows is a k, in atoms of 8 k and 64 columns that follow each other by k; 64 columns
// further lie transposed_stride bytes on.
void BeginProduct(float (*d)[4],
                  const uint32_t* a,
                  const void* shared_a,
                  const void* b,
                  int columns,
                  int64_t transposed_stride,
                  bool accumulate,
                  bool is_f16 = false);
void CommitProducts();
void WaitForProducts(int groups_in_flight);

}  // namespace longhand::kernels::emulation
