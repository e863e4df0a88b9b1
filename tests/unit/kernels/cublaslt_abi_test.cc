// Holds kernels/cuda/cublaslt_api.h against cuBLASLt's own header. The program needs no library.
#include <cublasLt.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <type_traits>

#include "kernels/cuda/cublaslt_api.h"

namespace longhand::kernels::cublaslt {
namespace {

// Pointers are alike, whatever they point at; enumerations are ints.
template <typename Ours, typename Theirs>
constexpr bool kAlike = std::is_pointer_v<Ours> ? std::is_pointer_v<Theirs>
                                                : sizeof(Ours) == sizeof(Theirs) &&
                                                      std::is_floating_point_v<Ours> ==
                                                          std::is_floating_point_v<Theirs>;

template <typename Ours, typename Theirs>
struct SameCall : std::false_type {};
template <typename Result, typename... Ours, typename TheirResult, typename... Theirs>
struct SameCall<Result (*)(Ours...), TheirResult (*)(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return kAlike<Result, TheirResult> && (kAlike<Ours, std::decay_t<Theirs>> && ...);
    }
  }();
};

#define LONGHAND_SAME_CALL(name) \
  static_assert(SameCall<decltype(Api::name), decltype(&cublasLt##name)>::value)
LONGHAND_SAME_CALL(Create);
LONGHAND_SAME_CALL(Destroy);
LONGHAND_SAME_CALL(GetStatusString);
LONGHAND_SAME_CALL(MatmulDescCreate);
LONGHAND_SAME_CALL(MatmulDescDestroy);
LONGHAND_SAME_CALL(MatmulDescSetAttribute);
LONGHAND_SAME_CALL(MatrixLayoutCreate);
LONGHAND_SAME_CALL(MatrixLayoutDestroy);
LONGHAND_SAME_CALL(MatmulPreferenceCreate);
LONGHAND_SAME_CALL(MatmulPreferenceDestroy);
LONGHAND_SAME_CALL(MatmulPreferenceSetAttribute);
LONGHAND_SAME_CALL(MatmulAlgoGetHeuristic);
LONGHAND_SAME_CALL(Matmul);

TEST(CublasLtAbi, NumbersAndStructuresAreTheHeaders) {
  EXPECT_EQ(kSuccess, CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(kComputeF32, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(kF32, CUDA_R_32F);
  EXPECT_EQ(kBf16, CUDA_R_16BF);
  EXPECT_EQ(kTransposed, CUBLAS_OP_T);
  EXPECT_EQ(kDescTransA, CUBLASLT_MATMUL_DESC_TRANSA);
  EXPECT_EQ(kMaxWorkspaceBytes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  EXPECT_EQ(kReductionSchemeMask, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
  EXPECT_EQ(kMinAlignmentA, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  EXPECT_EQ(kMinAlignmentB, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
  EXPECT_EQ(kMinAlignmentC, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
  EXPECT_EQ(kMinAlignmentD, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
  EXPECT_EQ(CUBLASLT_REDUCTION_SCHEME_NONE, 0);
  EXPECT_EQ(sizeof(Algorithm), sizeof(cublasLtMatmulAlgo_t));
  EXPECT_EQ(sizeof(Heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
  EXPECT_EQ(offsetof(Heuristic, workspace_bytes),
            offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
  EXPECT_EQ(offsetof(Heuristic, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
}

}  // namespace
}  // namespace longhand::kernels::cublaslt
