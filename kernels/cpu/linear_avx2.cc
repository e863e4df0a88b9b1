#include "kernels/cpu/linear_kernel.h"
#include "kernels/cpu/simd_avx2.h"

namespace longhand::kernels::cpu {

const LinearKernels& LinearAvx2() {
  static constexpr LinearKernels kKernels = MakeLinearKernels<Avx2>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
