// What the CPU backend's operations share: threads, the instruction set's kernels, and scratch
// memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/int8_kernels.h"
#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/ops.h"

namespace longhand::kernels::cpu {

// Memory that grows to the largest use and is then kept. What it held is lost when it grows.
class Scratch {
 public:
  // kResourceExhausted when there is no memory.
  Status Grow(size_t bytes);
  float* floats() const { return static_cast<float*>(buffer_->data()); }

 private:
  std::unique_ptr<Buffer> buffer_;
};

struct CpuContext {
  CpuContext(int num_threads,
             const LinearKernels& linear_kernels,
             const Int8Kernels& int8_kernels,
             const AttentionKernels& attention_kernels,
             const RowKernels& row_kernels)
      : linear(linear_kernels),
        int8(int8_kernels),
        attention(attention_kernels),
        rows(row_kernels),
        pool(num_threads),
        thread_scratch(static_cast<size_t>(num_threads)) {}

  // So much scratch for each thread.
  Status GrowThreadScratch(int64_t floats);

  const LinearKernels& linear;
  const Int8Kernels& int8;
  const AttentionKernels& attention;
  const RowKernels& rows;
  ThreadPool pool;
  std::vector<Scratch> thread_scratch;  // by thread
  Scratch shared_scratch;
  Scratch gate_up;  // of Linear
};

}  // namespace longhand::kernels::cpu
