#include "kernels/cuda/runtime.h"

#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/emulation/shared_memory.h"
#include "kernels/host_memory.h"

namespace longhand::kernels {
namespace emulated {

namespace {

class CountedBuffer final : public Buffer {
 public:
  CountedBuffer(std::unique_ptr<Buffer> buffer, ByteCount& count)
      : buffer_(std::move(buffer)), counted_(count, buffer_->size_bytes()) {}

  void* data() override { return buffer_->data(); }
  size_t size_bytes() const override { return buffer_->size_bytes(); }

 private:
  const std::unique_ptr<Buffer> buffer_;
  const CountedBytes counted_;
};

class CountedPeerMemory final : public PeerMemory {
 public:
  CountedPeerMemory(std::unique_ptr<PeerMemory> memory, size_t bytes, ByteCount& count)
      : memory_(std::move(memory)), counted_(count, bytes) {}

  std::byte* data() override { return memory_->data(); }
  std::string handle() const override { return memory_->handle(); }
  void Close() override { memory_->Close(); }

 private:
  const std::unique_ptr<PeerMemory> memory_;
  const CountedBytes counted_;
};

Result<std::unique_ptr<Buffer>> AllocateCounted(const Stream& stream,
                                                size_t bytes,
                                                ByteCount& count) {
  ++stream.num_allocations;
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, AllocateHost(bytes));
  return std::unique_ptr<Buffer>(std::make_unique<CountedBuffer>(std::move(buffer), count));
}

// Launches with their arguments.
struct LaunchRecording final : Recording {
  std::vector<std::function<Status()>> launches;
};

}  // namespace

Status BeginRecording(Stream& stream) {
  if (stream.refuses_recordings) return Internal("recording: refused, as the options say");
  stream.recorder = new std::vector<std::function<Status()>>;
  return OkStatus();
}

Result<std::unique_ptr<Recording>> EndRecording(Stream& stream) {
  auto recording = std::make_unique<LaunchRecording>();
  recording->launches = std::move(*stream.recorder);
  delete stream.recorder;
  stream.recorder = nullptr;
  return std::unique_ptr<Recording>(std::move(recording));
}

Status Replay(const Stream&, const Recording& recording) {
  for (const auto& launch : dynamic_cast<const LaunchRecording&>(recording).launches) {
    LONGHAND_RETURN_IF_ERROR(launch());
  }
  return OkStatus();
}

Result<std::unique_ptr<Buffer>> AllocateMemory(const Stream& stream, size_t bytes) {
  return AllocateCounted(stream, bytes, stream.device_memory);
}

Result<std::unique_ptr<Buffer>> AllocateStaging(const Stream& stream, size_t bytes) {
  return AllocateCounted(stream, bytes, stream.staging_memory);
}

Status CopyToDevice(const Stream&, void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
  return OkStatus();
}

Status CopyToHost(const Stream&, void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
  return OkStatus();
}

// Little, as hosts may have little of it: up to 1 MB a call.
PeerGroup MakePeerGroup() { return {.max_blocks = 16, .region_bytes = 64 << 10}; }

bool IsTimed() { return false; }

int64_t LibraryBytes() { return 0; }

Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(const Stream& stream, size_t bytes) {
  ++stream.num_allocations;
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<PeerMemory> memory,
                            emulation::CreateSharedMemory(bytes));
  return std::unique_ptr<PeerMemory>(
      std::make_unique<CountedPeerMemory>(std::move(memory), bytes, stream.device_memory));
}

Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle) {
  return emulation::OpenSharedMemory(handle);
}

Result<std::unique_ptr<LargeProducts>> OpenLargeProducts() {
  return Unimplemented("the emulation has no library for large products");
}

Result<double> TimeOf(const Stream&, const std::function<Status()>&) {
  return Unimplemented("the emulation's time means nothing");
}

Status WaitFor(const Stream&) { return OkStatus(); }

}  // namespace emulated

Result<std::unique_ptr<CudaOps>> CreateEmulatedOps(const EmulationOptions& options) {
  if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2")) {
    return Unimplemented("the emulated backend needs a CPU with AVX2 and FMA");
  }
  const emulated::Stream stream{.schedule_seed = options.schedule_seed,
                                .refuses_recordings = options.refuses_recordings,
                                .multiplies_fp8 = options.multiplies_fp8,
                                .num_multiprocessors = options.num_multiprocessors,
                                // Shuffled schedules are compared with the plain one, and so are
                                // the kernels of two devices.
                                .may_have_wgmma = options.schedule_seed != 0};
  return emulated::MakeOps("emulated", stream, [](emulated::Stream&) {});
}

}  // namespace longhand::kernels
