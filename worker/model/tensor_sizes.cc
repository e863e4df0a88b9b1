#include "worker/model/tensor_sizes.h"

#include <algorithm>

#include "common/check.h"
#include "worker/model/tensor_specs.h"

namespace longhand::model {

TensorSizes::TensorSizes(const ModelConfig& config) {
  ModelConfig floats = config;
  floats.quantization = {};
  for (const TensorSpec& spec : ExpectedTensors(floats)) {
    TensorSize size{.rows = spec.shape[0]};
    for (size_t i = 1; i < spec.shape.size(); ++i) size.columns *= spec.shape[i];
    sizes_[spec.name] = size;
  }
}

TensorSize TensorSizes::Of(const TensorSlice& slice) const {
  const auto it = sizes_.find(slice.name);
  LONGHAND_CHECK(it != sizes_.end()) << slice.name;
  TensorSize size = it->second;
  if (slice.rows.size() > 0) size.rows = slice.rows.size();
  if (slice.columns.size() > 0) size.columns = slice.columns.size();
  return {std::max(size.rows, slice.padded_rows), std::max(size.columns, slice.padded_columns)};
}

TensorSize TensorSizes::Of(const std::vector<TensorSlice>& slices) const {
  TensorSize all{.rows = 0, .columns = Of(slices.front()).columns};
  for (const TensorSlice& slice : slices) all.rows += Of(slice).rows;
  return all;
}

}  // namespace longhand::model
