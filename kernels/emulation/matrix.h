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

// mma.sync.m16n8k32, fp8 (e4m3): the same.
void MultiplyAccumulateFp8(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// wgmma.m64n128k16, bf16: d = a b or d += a b, one warp's 16 rows of it. `a` and `b` are rows of
// 64 k in atoms of 8 rows and 1024 bytes, as the 128-byte swizzle lays them; both point to the
// first of the 16 k. Done at once, where a device does it until it is waited for.
void MultiplyShared(float (&d)[16][4], const void* a, const void* b, bool accumulate);

}  // namespace longhand::kernels::emulation
