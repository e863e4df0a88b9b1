#include "kernels/cpu/int8_kernel.h"
#include "kernels/cpu/simd_vnni.h"

namespace longhand::kernels::cpu {

const Int8Kernels& Int8Vnni() {
  static constexpr Int8Kernels kKernels = MakeInt8Kernels<Vnni>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
