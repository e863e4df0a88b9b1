#include "kernels/cpu/row_kernel.h"
#include "kernels/cpu/simd_avx512.h"

namespace longhand::kernels::cpu {

const RowKernels& RowsAvx512() {
  static constexpr RowKernels kKernels = MakeRowKernels<Avx512>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
