#include "kernels/cpu/attention_kernel.h"
#include "kernels/cpu/simd_avx2.h"

namespace longhand::kernels::cpu {

const AttentionKernels& AttentionAvx2() {
  static constexpr AttentionKernels kKernels = MakeAttentionKernels<Avx2>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
