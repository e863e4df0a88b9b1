#include "kernels/cpu/cpu_context.h"

#include "kernels/host_memory.h"

namespace longhand::kernels::cpu {

Status Scratch::Grow(size_t bytes) {
  if (buffer_ != nullptr && buffer_->size_bytes() >= bytes) return OkStatus();
  buffer_.reset();
  LONGHAND_ASSIGN_OR_RETURN(buffer_, AllocateHost(bytes));
  return OkStatus();
}

Status CpuContext::GrowThreadScratch(int64_t floats) {
  for (Scratch& scratch : thread_scratch) {
    LONGHAND_RETURN_IF_ERROR(scratch.Grow(static_cast<size_t>(floats) * sizeof(float)));
  }
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
