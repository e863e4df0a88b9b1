// The part of cuBLASLt's C interface that is used here, declared anew: the library is loaded when
// it is asked for, so that a worker starts without it. tests/unit/kernels/cublaslt_abi_test.cc
// holds this against its own header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace longhand::kernels::cublaslt {

// Only pointed at.
struct Context;
struct MatmulDesc;
struct MatrixLayout;
struct MatmulPreference;
using Stream = void*;  // cudaStream_t

using Status = int;  // cublasStatus_t
constexpr Status kSuccess = 0;

constexpr int kComputeF32 = 68;        // cublasComputeType_t
constexpr int kF32 = 0, kBf16 = 14;    // cudaDataType
constexpr int32_t kTransposed = 1;     // cublasOperation_t
constexpr int kDescTransA = 3;         // cublasLtMatmulDescAttributes_t
constexpr int kMaxWorkspaceBytes = 1;  // cublasLtMatmulPreferenceAttributes_t
constexpr int kReductionSchemeMask = 3;
constexpr int kMinAlignmentA = 5, kMinAlignmentB = 6, kMinAlignmentC = 7, kMinAlignmentD = 8;

// cublasLtMatmulAlgo_t
struct Algorithm {
  uint64_t data[8];
};
// cublasLtMatmulHeuristicResult_t
struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

// One member for each function, without its "cublasLt".
struct Api {
  Status (*Create)(Context** context) = nullptr;
  Status (*Destroy)(Context* context) = nullptr;
  const char* (*GetStatusString)(Status status) = nullptr;
  Status (*MatmulDescCreate)(MatmulDesc** desc, int compute, int scale) = nullptr;
  Status (*MatmulDescDestroy)(MatmulDesc* desc) = nullptr;
  Status (*MatmulDescSetAttribute)(MatmulDesc* desc,
                                   int attribute,
                                   const void* value,
                                   size_t bytes) = nullptr;
  Status (*MatrixLayoutCreate)(
      MatrixLayout** layout, int dtype, uint64_t rows, uint64_t columns, int64_t stride) = nullptr;
  Status (*MatrixLayoutDestroy)(MatrixLayout* layout) = nullptr;
  Status (*MatmulPreferenceCreate)(MatmulPreference** preference) = nullptr;
  Status (*MatmulPreferenceDestroy)(MatmulPreference* preference) = nullptr;
  Status (*MatmulPreferenceSetAttribute)(MatmulPreference* preference,
                                         int attribute,
                                         const void* value,
                                         size_t bytes) = nullptr;
  Status (*MatmulAlgoGetHeuristic)(Context* context,
                                   MatmulDesc* desc,
                                   MatrixLayout* a,
                                   MatrixLayout* b,
                                   MatrixLayout* c,
                                   MatrixLayout* d,
                                   MatmulPreference* preference,
                                   int wanted,
                                   Heuristic* found,
                                   int* num_found) = nullptr;
  Status (*Matmul)(Context* context,
                   MatmulDesc* desc,
                   const void* alpha,
                   const void* a,
                   MatrixLayout* a_layout,
                   const void* b,
                   MatrixLayout* b_layout,
                   const void* beta,
                   const void* c,
                   MatrixLayout* c_layout,
                   void* d,
                   MatrixLayout* d_layout,
                   const Algorithm* algorithm,
                   void* workspace,
                   size_t workspace_bytes,
                   Stream stream) = nullptr;
};

}  // namespace longhand::kernels::cublaslt
