// The CUDA backend, on a device or emulated on the host. Activations have the model's dtype.
//
// bf16 matrix products run on tensor cores (mma.sync, f32 sums), f32 ones as chains of multiply-
// adds. Index tensors (ids, slots, block tables, lengths) are trusted: they lie in device memory.
// kUnimplemented: attention with another head_dim than a multiple of 8 up to 128 (bf16 activations
// with bf16 KV: 16, 32, 64, 80 and 128), and attention on tensors that are not aligned to 16 bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string_view>

#include "common/peer_group.h"
#include "kernels/cuda/counted_bytes.h"
#include "kernels/ops.h"

namespace longhand::kernels {

class CudaOps : public Ops, public PeerDevice {
 public:
  // The cudaStream_t on which the operations run, for collectives between them. Null when emulated.
  virtual void* stream() const = 0;
  // So far, of device memory and of staging memory.
  virtual int64_t num_allocations() const = 0;
  // What was allocated here, by operations too; on a GPU without what libraries take.
  virtual ByteCount device_memory() const = 0;
  virtual ByteCount staging_memory() const = 0;
  virtual int64_t num_replays() const = 0;
  // Of kernels, those included that were recorded; replays do not count.
  virtual int64_t num_launches() const = 0;
};

// Names of kernels that were launched, those of trials too; recorded ones count when they are
// noted.
using KernelNames = std::set<std::string_view>;

struct CudaOptions {
  // Whether of kernels with the same bits the device gets the quicker one; else it gets wgmma's.
  bool times_kernels = true;
  // Must outlive the Ops, where there is one.
  KernelNames* launched = nullptr;
};
// In kernels_cuda, which is there where LONGHAND_WITH_CUDA is. kUnavailable without such a device.
Result<std::unique_ptr<CudaOps>> CreateCudaOps(int device_idx, const CudaOptions& options = {});

struct EmulationOptions {
  // 0: threads run in order. Else the order is drawn from it; results must not depend on that.
  uint64_t schedule_seed = 0;
  // What kernels see as the device's; some launch as many blocks as it can hold.
  int num_multiprocessors = 2;
  // Whether the device has products of fp8; without, fp8 weights become bf16.
  bool multiplies_fp8 = true;
  // Recording fails, as it may on a device.
  bool refuses_recordings = false;
  // Work is done only when the host looks how far the device is.
  bool runs_apart = false;
  // As of CudaOptions.
  KernelNames* launched = nullptr;
};
// In kernels_emulated: the same kernels on the calling thread. kUnimplemented where the CPU lacks
// FMA.
Result<std::unique_ptr<CudaOps>> CreateEmulatedOps(const EmulationOptions& options = {});

}  // namespace longhand::kernels
