// Workspaces: activations that are allocated once, at start. A workspace is a struct of
// DeviceTensors; the list of its parts says how large each is, for the allocation and for the
// budget that is printed.
#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/device_tensor.h"

namespace longhand::model {

template <typename Workspace>
struct WorkspacePart {
  DeviceTensor Workspace::*tensor;
  DType dtype;
  int64_t rows;
  int64_t width;
};

template <typename Workspace>
int64_t SumParts(const std::vector<WorkspacePart<Workspace>>& parts) {
  int64_t bytes = 0;
  for (const auto& part : parts) {
    bytes += part.rows * part.width * static_cast<int64_t>(DTypeSize(part.dtype));
  }
  return bytes;
}

// Parts without elements stay empty. kResourceExhausted when there is no memory.
template <typename Workspace>
Status AllocateParts(kernels::Ops& ops,
                     const std::vector<WorkspacePart<Workspace>>& parts,
                     Workspace* workspace) {
  for (const auto& part : parts) {
    if (part.rows * part.width == 0) continue;
    LONGHAND_ASSIGN_OR_RETURN(workspace->*(part.tensor),
                              AllocateTensor(ops, part.dtype, {part.rows, part.width}));
  }
  return OkStatus();
}

}  // namespace longhand::model
