// What backends in host memory share: allocation, copies, and a Synchronize that has nothing to
// wait for.
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace longhand::kernels {

// Zeroed, 64-byte aligned; large ones ask for huge pages, which spare address translation when
// weights stream by. kResourceExhausted when there is no memory.
Result<std::unique_ptr<Buffer>> AllocateHost(size_t bytes);
// The same, for who writes all of it.
Result<std::unique_ptr<Buffer>> AllocateHostUnwritten(size_t bytes);

// Operations run at once, on the calling thread.
class HostOps : public Ops {
 public:
  Result<std::unique_ptr<Buffer>> Allocate(size_t bytes) override { return AllocateHost(bytes); }
  Result<std::unique_ptr<Buffer>> AllocateStaging(size_t bytes) override {
    return AllocateHost(bytes);
  }
  // Scratch memory grows with the calls.
  Status Reserve(const StepSizes&) override { return OkStatus(); }
  OpsMemory ReservedMemory(const StepSizes&) const override { return {}; }
  // All that there are, unless the backend says otherwise.
  bool HasKvDType(DType kv) const override;
  Status CopyToDevice(void* device, const void* host, size_t bytes) override;
  Status CopyToHost(void* host, const void* device, size_t bytes) override;
  Status Synchronize() override { return OkStatus(); }

 private:
  Status DoCopyBlocks(const CopyBlocksArgs& args) override;
};

}  // namespace longhand::kernels
