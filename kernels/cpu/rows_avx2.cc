#include "kernels/cpu/row_kernel.h"
#include "kernels/cpu/simd_avx2.h"

namespace longhand::kernels::cpu {

const RowKernels& RowsAvx2() {
  static constexpr RowKernels kKernels = MakeRowKernels<Avx2>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
