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

class CountedBuffer : public Buffer {
 public:
  CountedBuffer(std::unique_ptr<Buffer> buffer, ByteCount& count)
      : buffer_(std::move(buffer)), counted_(count, buffer_->size_bytes()) {}

  void* data() override { return buffer_->data(); }
  size_t size_bytes() const override { return buffer_->size_bytes(); }

 private:
  const std::unique_ptr<Buffer> buffer_;
  const CountedBytes counted_;
};

class LateStaging final : public CountedBuffer {
 public:
  LateStaging(std::unique_ptr<Buffer> buffer,
              ByteCount& count,
              std::shared_ptr<emulation::LateWork> late)
      : CountedBuffer(std::move(buffer), count), late_(std::move(late)) {
    late_->AddStaging(data(), size_bytes());
  }
  ~LateStaging() override { late_->RemoveStaging(data()); }

 private:
  const std::shared_ptr<emulation::LateWork> late_;
};

struct LateEvent final : Event {
  int64_t place = 0;
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
  using Launches = std::vector<emulation::NotedLaunch>;
  explicit LaunchRecording(int& count) : counted(count) {}
  // Replays that are still to come keep them.
  std::shared_ptr<const Launches> launches;
  const CountedOne counted;
  mutable int64_t num_replays = 0;
};

// Two at a time, from the first or the second on, where a launch begins early.
Status LaunchAll(const LaunchRecording::Launches& launches, int64_t first_of_two) {
  for (size_t i = 0; i < launches.size(); ++i) {
    const bool together = static_cast<int64_t>(i) >= first_of_two && i + 1 < launches.size() &&
                          launches[i + 1].begins_early;
    LONGHAND_RETURN_IF_ERROR(together ? emulation::LaunchTogether(launches[i], launches[i + 1])
                                      : launches[i].run());
    if (together) ++i;
  }
  return OkStatus();
}

}  // namespace

Status BeginRecording(Stream& stream) {
  if (stream.refuses_recordings) return Internal("recording: refused, as the options say");
  stream.recorder = new LaunchRecording::Launches;
  return OkStatus();
}

Result<std::unique_ptr<Recording>> EndRecording(Stream& stream) {
  auto recording = std::make_unique<LaunchRecording>(stream.num_recordings);
  recording->launches =
      std::make_shared<const LaunchRecording::Launches>(std::move(*stream.recorder));
  delete stream.recorder;
  stream.recorder = nullptr;
  return std::unique_ptr<Recording>(std::move(recording));
}

Status Replay(const Stream& stream, const Recording& recording) {
  const auto& of_launches = dynamic_cast<const LaunchRecording&>(recording);
  const int64_t first_of_two = of_launches.num_replays++ % 2;
  const auto& launches = of_launches.launches;
  if (stream.late == nullptr) return LaunchAll(*launches, first_of_two);
  stream.late->Add([launches, first_of_two] { return LaunchAll(*launches, first_of_two); });
  return OkStatus();
}

Result<std::unique_ptr<Buffer>> AllocateMemory(const Stream& stream, size_t bytes) {
  return AllocateCounted(stream, bytes, stream.device_memory);
}

Result<std::unique_ptr<Buffer>> AllocateStaging(const Stream& stream, size_t bytes) {
  if (stream.late == nullptr) return AllocateCounted(stream, bytes, stream.staging_memory);
  ++stream.num_allocations;
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, AllocateHost(bytes));
  return std::unique_ptr<Buffer>(
      std::make_unique<LateStaging>(std::move(buffer), stream.staging_memory, stream.late));
}

Status CopyToDevice(const Stream& stream, void* device, const void* host, size_t bytes) {
  if (bytes == 0) return OkStatus();
  if (stream.late == nullptr) {
    std::memcpy(device, host, bytes);
  } else if (stream.late->IsStaging(host)) {
    stream.late->Add([=] {
      std::memcpy(device, host, bytes);
      return OkStatus();
    });
  } else {
    const auto* first = static_cast<const char*>(host);
    stream.late->Add([device, copy = std::vector<char>(first, first + bytes)] {
      std::memcpy(device, copy.data(), copy.size());
      return OkStatus();
    });
  }
  return OkStatus();
}

Status CopyToHost(const Stream& stream, void* host, const void* device, size_t bytes) {
  if (bytes == 0) return OkStatus();
  if (stream.late != nullptr && stream.late->IsStaging(host)) {
    stream.late->Add([=] {
      std::memcpy(host, device, bytes);
      return OkStatus();
    });
    return OkStatus();
  }
  LONGHAND_RETURN_IF_ERROR(WaitFor(stream));
  std::memcpy(host, device, bytes);
  return OkStatus();
}

bool RunsApart(const Stream& stream) { return stream.late != nullptr; }

Result<std::unique_ptr<Event>> CreateEvent(const Stream&) {
  return std::unique_ptr<Event>(std::make_unique<LateEvent>());
}

Status SetEvent(const Stream& stream, Event& event) {
  if (stream.late != nullptr) dynamic_cast<LateEvent&>(event).place = stream.late->end();
  return OkStatus();
}

Result<bool> Reached(const Stream& stream, const Event& event) {
  if (stream.late == nullptr) return true;
  return stream.late->Reach(dynamic_cast<const LateEvent&>(event).place);
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

Status WaitFor(const Stream& stream) {
  return stream.late == nullptr ? OkStatus() : stream.late->DoAll();
}

}  // namespace emulated

Result<std::unique_ptr<CudaOps>> CreateEmulatedOps(const EmulationOptions& options) {
  if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2")) {
    return Unimplemented("the emulated backend needs a CPU with AVX2 and FMA");
  }
  const emulated::Stream stream{
      .schedule_seed = options.schedule_seed,
      .refuses_recordings = options.refuses_recordings,
      .multiplies_fp8 = options.multiplies_fp8,
      .late = options.runs_apart ? std::make_shared<emulation::LateWork>() : nullptr,
      .num_multiprocessors = options.num_multiprocessors,
      // Shuffled schedules are compared with the plain one, and so are the kernels of two devices.
      .may_have_wgmma = options.schedule_seed != 0,
      .launched = options.launched};
  return emulated::MakeOps("emulated", stream, [](emulated::Stream&) {});
}

}  // namespace longhand::kernels
