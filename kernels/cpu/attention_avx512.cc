#include "kernels/cpu/attention_kernel.h"
#include "kernels/cpu/simd_avx512.h"

namespace longhand::kernels::cpu {

const AttentionKernels& AttentionAvx512() {
  static constexpr AttentionKernels kKernels = MakeAttentionKernels<Avx512>();
  return kKernels;
}

}  // namespace longhand::kernels::cpu
