// Which tensors a checkpoint of this architecture must hold, and their shapes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/status.h"
#include "worker/model/checkpoint.h"

namespace longhand::model {

struct TensorSpec {
  std::string name;  // as published
  std::vector<int64_t> shape;
  std::optional<DType> dtype = std::nullopt;  // any float when absent
};

std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config);

// kInvalidArgument naming file, tensor, found and expected for the first tensor that is missing,
// has another shape, or belongs to no part of the model.
Status CheckTensors(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace longhand::model
