// Observer: a look at intermediate values, by the names of the recordings ("lm/layer0",
// "vit/block1"). For parity tests only: each look copies to the host and waits.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "common/tensor_view.h"
#include "kernels/ops.h"

namespace longhand::model {

// values [rows, width] as f32.
struct Observation {
  std::string_view name;
  int64_t rows = 0;
  int64_t width = 0;
  std::vector<float> values;
};
using Observer = std::function<void(const Observation&)>;

// Shows `x` (plus `y`, when it is not empty: the residual stream with its pending branch) to the
// observer; [rows, width] f32 or bf16, on the device.
Status Observe(const Observer& observer,
               kernels::Ops& ops,
               std::string_view name,
               TensorView x,
               TensorView y = {});

}  // namespace longhand::model
