// The device as the host sees it: a stream, memory, copies. runtime.cu for a GPU,
// emulation/runtime.cc without one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/peer_group.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/large_products.h"
#include "kernels/ops.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// Zeroed. kResourceExhausted when the device has no room.
Result<std::unique_ptr<Buffer>> AllocateMemory(const Stream& stream, size_t bytes);

// Page-locked host memory: copies from and to it do not wait. kResourceExhausted.
Result<std::unique_ptr<Buffer>> AllocateStaging(const Stream& stream, size_t bytes);

// Ordered with the stream's work. Pageable host memory has been read when this returns.
Status CopyToDevice(const Stream& stream, void* device, const void* host, size_t bytes);
Status CopyToHost(const Stream& stream, void* host, const void* device, size_t bytes);

// What libraries take beside these, about.
int64_t LibraryBytes();

// Of Ops.
bool RunsApart(const Stream& stream);
Result<std::unique_ptr<Event>> CreateEvent(const Stream& stream);
Status SetEvent(const Stream& stream, Event& event);
Result<bool> Reached(const Stream& stream, const Event& event);

// From here on launches are noted, until EndRecording.
Status BeginRecording(Stream& stream);
// Ends it in any case.
Result<std::unique_ptr<Recording>> EndRecording(Stream& stream);
Status Replay(const Stream& stream, const Recording& recording);

// Of PeerDevice.
PeerGroup MakePeerGroup();
bool IsTimed();
Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(const Stream& stream, size_t bytes);
Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle);

// kUnimplemented where there is no such library.
Result<std::unique_ptr<LargeProducts>> OpenLargeProducts();

// Microseconds that the device takes for what is enqueued. kUnimplemented where IsTimed is false.
Result<double> TimeOf(const Stream& stream, const std::function<Status()>& enqueue);

// kInternal when something enqueued before has failed.
Status WaitFor(const Stream& stream);

}  // namespace longhand::kernels::LONGHAND_DEVICE
