// Opens a GPU. There where LONGHAND_WITH_CUDA is.
#pragma once

#include "worker/service/device.h"

namespace longhand::service {

// The calling thread may use the device; others after Device::use_on_thread. kUnavailable when
// there is no such device.
Result<Device> OpenCudaDevice(int device_idx);

}  // namespace longhand::service
