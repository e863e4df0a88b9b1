#include "kernels/cpu/linear_kernel.h"
#include "kernels/cpu/simd_avx512.h"

namespace longhand::kernels::cpu {

const LinearKernels& LinearAvx512() {
  static constexpr LinearKernels kKernels = MakeLinearKernels<Avx512>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
