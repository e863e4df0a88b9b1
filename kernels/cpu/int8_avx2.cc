#include "kernels/cpu/int8_kernel.h"
#include "kernels/cpu/simd_avx2.h"

namespace longhand::kernels::cpu {

const Int8Kernels& Int8Avx2() {
  static constexpr Int8Kernels kKernels = MakeInt8Kernels<Avx2>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
