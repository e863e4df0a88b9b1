#include <cstring>
#include <string>
#include <utility>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/runtime.h"

namespace longhand::kernels {
namespace cuda {
namespace {

Status ToStatus(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return OkStatus();
  return Internal(what, ": ", cudaGetErrorString(error));
}

class DeviceBuffer final : public Buffer {
 public:
  DeviceBuffer(void* data, size_t bytes, ByteCount& count)
      : data_(data), bytes_(bytes), counted_(count, bytes) {}
  ~DeviceBuffer() override { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* data() override { return data_; }
  size_t size_bytes() const override { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
  const CountedBytes counted_;
};

class StagingBuffer final : public Buffer {
 public:
  StagingBuffer(void* data, size_t bytes, ByteCount& count)
      : data_(data), bytes_(bytes), counted_(count, bytes) {}
  ~StagingBuffer() override { cudaFreeHost(data_); }
  StagingBuffer(const StagingBuffer&) = delete;
  StagingBuffer& operator=(const StagingBuffer&) = delete;

  void* data() override { return data_; }
  size_t size_bytes() const override { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
  const CountedBytes counted_;
};

// A CUDA graph.
class GraphRecording final : public Recording {
 public:
  GraphRecording(cudaGraphExec_t graph, int& count) : graph_(graph), counted_(count) {}
  ~GraphRecording() override { cudaGraphExecDestroy(graph_); }
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;

  cudaGraphExec_t graph() const { return graph_; }

 private:
  cudaGraphExec_t graph_;
  const CountedOne counted_;
};

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(cudaEvent_t event) : event_(event) {}
  ~CudaEvent() override { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  cudaEvent_t event() const { return event_; }

 private:
  cudaEvent_t event_;
};

__global__ void CodeProbe() {}

// Whether the code that runs here waits where it begins early: of the architectures that it is
// compiled for, what is below 9.0 does not.
bool CodeOverlaps() {
  constexpr int kLeastPtx = 90;
  cudaFuncAttributes code;
  return cudaFuncGetAttributes(&code, &CodeProbe) == cudaSuccess && code.ptxVersion >= kLeastPtx;
}

Result<Stream> OpenStream(int device_idx, const CudaOptions& options) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || count == 0) {
    return Unavailable("no CUDA device: ",
                       found == cudaSuccess ? "none is visible" : cudaGetErrorString(found));
  }
  if (device_idx < 0 || device_idx >= count) {
    return Unavailable("no CUDA device ", device_idx, "; there are ", count);
  }
  LONGHAND_RETURN_IF_ERROR(ToStatus("cudaSetDevice", cudaSetDevice(device_idx)));
  cudaDeviceProp properties;
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, device_idx)));
  if (properties.major < 8) {
    return Unavailable("CUDA device ", device_idx, " (", properties.name,
                       ") has compute capability ", properties.major, ".", properties.minor,
                       "; 8.0 is the least");
  }
  Stream stream;
  stream.times_kernels = options.times_kernels;
  stream.launched = options.launched;
  stream.overlaps = CodeOverlaps();
  stream.num_multiprocessors = properties.multiProcessorCount;
  stream.shared_bytes = static_cast<int>(properties.sharedMemPerBlockOptin);
  stream.may_have_wgmma = properties.major == 9;
  LONGHAND_RETURN_IF_ERROR(ToStatus(
      "cudaStreamCreate", cudaStreamCreateWithFlags(&stream.handle, cudaStreamNonBlocking)));
  return stream;
}

}  // namespace

Result<std::unique_ptr<Buffer>> AllocateMemory(const Stream& stream, size_t bytes) {
  void* data = nullptr;
  ++stream.num_allocations;
  // Nothing is allocated for 0 bytes, and a null pointer would be an absent tensor.
  const cudaError_t error = cudaMalloc(&data, bytes == 0 ? 1 : bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return ResourceExhausted("no device memory for ", bytes, " bytes: ", cudaGetErrorString(error));
  }
  auto buffer = std::make_unique<DeviceBuffer>(data, bytes, stream.device_memory);
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("cudaMemsetAsync", cudaMemsetAsync(data, 0, bytes, stream.handle)));
  return std::unique_ptr<Buffer>(std::move(buffer));
}

Result<std::unique_ptr<Buffer>> AllocateStaging(const Stream& stream, size_t bytes) {
  void* data = nullptr;
  ++stream.num_allocations;
  const cudaError_t error = cudaMallocHost(&data, bytes == 0 ? 1 : bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return ResourceExhausted("no page-locked memory for ", bytes,
                             " bytes: ", cudaGetErrorString(error));
  }
  std::memset(data, 0, bytes);
  return std::unique_ptr<Buffer>(
      std::make_unique<StagingBuffer>(data, bytes, stream.staging_memory));
}

Status CopyToDevice(const Stream& stream, void* device, const void* host, size_t bytes) {
  if (bytes == 0) return OkStatus();
  return ToStatus("copy to the device",
                  cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream.handle));
}

Status CopyToHost(const Stream& stream, void* host, const void* device, size_t bytes) {
  if (bytes == 0) return OkStatus();
  return ToStatus("copy to the host",
                  cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream.handle));
}

namespace {

class OwnPeerMemory final : public PeerMemory {
 public:
  OwnPeerMemory(void* data, size_t bytes, const cudaIpcMemHandle_t& handle, ByteCount& count)
      : data_(data), handle_(handle), counted_(count, bytes) {}
  ~OwnPeerMemory() override { cudaFree(data_); }
  OwnPeerMemory(const OwnPeerMemory&) = delete;
  OwnPeerMemory& operator=(const OwnPeerMemory&) = delete;

  std::byte* data() override { return static_cast<std::byte*>(data_); }
  std::string handle() const override {
    return std::string(reinterpret_cast<const char*>(&handle_), sizeof(handle_));
  }

 private:
  void* data_;
  const cudaIpcMemHandle_t handle_;
  const CountedBytes counted_;
};

// Memory of another process on this host.
class OpenedPeerMemory final : public PeerMemory {
 public:
  OpenedPeerMemory(void* data, std::string handle) : data_(data), handle_(std::move(handle)) {}
  ~OpenedPeerMemory() override { cudaIpcCloseMemHandle(data_); }
  OpenedPeerMemory(const OpenedPeerMemory&) = delete;
  OpenedPeerMemory& operator=(const OpenedPeerMemory&) = delete;

  std::byte* data() override { return static_cast<std::byte*>(data_); }
  std::string handle() const override { return handle_; }

 private:
  void* data_;
  const std::string handle_;
};

}  // namespace

// 64 blocks are on every GPU at once, with room for what runs beside them. Up to 8 MB a call.
PeerGroup MakePeerGroup() { return {.max_blocks = 64, .region_bytes = 128 << 10}; }

bool IsTimed() { return true; }

// The context, kernels' code, the graphs of recorded steps, NCCL's buffers, what allocations are
// rounded up to. Two ranks of a small model had some 1.5 GB each for these on an H200, by what its
// driver says was used; graphs of large models are not measured.
int64_t LibraryBytes() { return int64_t{5} << 29; }

Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(const Stream& stream, size_t bytes) {
  void* data = nullptr;
  ++stream.num_allocations;
  cudaError_t error = cudaMalloc(&data, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return ResourceExhausted("no device memory for ", bytes,
                             " bytes that ranks share: ", cudaGetErrorString(error));
  }
  cudaIpcMemHandle_t handle;
  error = cudaMemset(data, 0, bytes);
  if (error == cudaSuccess) error = cudaIpcGetMemHandle(&handle, data);
  if (error != cudaSuccess) {
    cudaGetLastError();
    cudaFree(data);
    return Unavailable("memory cannot be shared: ", cudaGetErrorString(error));
  }
  return std::unique_ptr<PeerMemory>(
      std::make_unique<OwnPeerMemory>(data, bytes, handle, stream.device_memory));
}

Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle) {
  cudaIpcMemHandle_t ipc;
  if (handle.size() != sizeof(ipc)) {
    return Unavailable("a handle of ", handle.size(), " bytes; it must have ", sizeof(ipc));
  }
  std::memcpy(&ipc, handle.data(), sizeof(ipc));
  void* data = nullptr;
  const cudaError_t error = cudaIpcOpenMemHandle(&data, ipc, cudaIpcMemLazyEnablePeerAccess);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return Unavailable("another rank's memory cannot be read: ", cudaGetErrorString(error));
  }
  return std::unique_ptr<PeerMemory>(std::make_unique<OpenedPeerMemory>(data, handle));
}

bool RunsApart(const Stream&) { return true; }

Result<std::unique_ptr<Event>> CreateEvent(const Stream&) {
  cudaEvent_t event = nullptr;
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("event", cudaEventCreateWithFlags(&event, cudaEventDisableTiming)));
  return std::unique_ptr<Event>(std::make_unique<CudaEvent>(event));
}

Status SetEvent(const Stream& stream, Event& event) {
  return ToStatus("event", cudaEventRecord(dynamic_cast<CudaEvent&>(event).event(), stream.handle));
}

Result<bool> Reached(const Stream&, const Event& event) {
  const cudaError_t state = cudaEventQuery(dynamic_cast<const CudaEvent&>(event).event());
  if (state == cudaErrorNotReady) return false;
  LONGHAND_RETURN_IF_ERROR(ToStatus("the device's work", state));
  return true;
}

// Of this thread's calls only: other threads may go on with theirs.
Status BeginRecording(Stream& stream) {
  return ToStatus("recording",
                  cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal));
}

Result<std::unique_ptr<Recording>> EndRecording(Stream& stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream.handle, &graph);
  if (error == cudaSuccess) error = cudaGraphInstantiate(&executable, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (error == cudaSuccess) {
    auto recording = std::make_unique<GraphRecording>(executable, stream.num_recordings);
    error = cudaGraphUpload(executable, stream.handle);
    if (error == cudaSuccess) return std::unique_ptr<Recording>(std::move(recording));
  }
  // What failed while recording must not show at the next launch.
  cudaGetLastError();
  return ToStatus("recording", error);
}

Status Replay(const Stream& stream, const Recording& recording) {
  const auto& graph = dynamic_cast<const GraphRecording&>(recording);
  return ToStatus("launch of a graph", cudaGraphLaunch(graph.graph(), stream.handle));
}

namespace {

class Event {
 public:
  Event() { created_ = cudaEventCreate(&event_); }
  ~Event() {
    if (created_ == cudaSuccess) cudaEventDestroy(event_);
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  Status Record(const Stream& stream) {
    LONGHAND_RETURN_IF_ERROR(ToStatus("cudaEventCreate", created_));
    return ToStatus("cudaEventRecord", cudaEventRecord(event_, stream.handle));
  }
  cudaEvent_t event() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
  cudaError_t created_;
};

}  // namespace

Result<double> TimeOf(const Stream& stream, const std::function<Status()>& enqueue) {
  Event begin, end;
  LONGHAND_RETURN_IF_ERROR(begin.Record(stream));
  LONGHAND_RETURN_IF_ERROR(enqueue());
  LONGHAND_RETURN_IF_ERROR(end.Record(stream));
  LONGHAND_RETURN_IF_ERROR(WaitFor(stream));
  float ms = 0;
  LONGHAND_RETURN_IF_ERROR(
      ToStatus("cudaEventElapsedTime", cudaEventElapsedTime(&ms, begin.event(), end.event())));
  return 1000.0 * ms;
}

Status WaitFor(const Stream& stream) {
  return ToStatus("the device's work", cudaStreamSynchronize(stream.handle));
}

}  // namespace cuda

Result<std::unique_ptr<CudaOps>> CreateCudaOps(int device_idx, const CudaOptions& options) {
  LONGHAND_ASSIGN_OR_RETURN(const cuda::Stream stream, cuda::OpenStream(device_idx, options));
  return cuda::MakeOps("cuda", stream,
                       [](cuda::Stream& closing) { cudaStreamDestroy(closing.handle); });
}

}  // namespace longhand::kernels
