// A DeviceStream over a CUDA stream. There where LONGHAND_WITH_CUDA is.
#pragma once

#include <memory>

#include "worker/comm/device_stream.h"

namespace longhand::comm {

// `stream` is a cudaStream_t of the calling thread's device; it must outlive what is returned.
// kUnavailable when the device does not answer.
Result<std::unique_ptr<DeviceStream>> CreateCudaStream(void* stream);

}  // namespace longhand::comm
