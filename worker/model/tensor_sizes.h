// TensorSizes: how large the slices of a model's tensors are, from the configuration alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "worker/model/weight_source.h"

namespace longhand::model {

// Seen as a matrix [first dimension, all others].
struct TensorSize {
  int64_t rows = 0;
  int64_t columns = 1;
};

class TensorSizes {
 public:
  explicit TensorSizes(const ModelConfig& config);

  // With its padding. The tensor must be one of the model's.
  TensorSize Of(const TensorSlice& slice) const;
  // The slices one below the other.
  TensorSize Of(const std::vector<TensorSlice>& slices) const;
  const std::map<std::string, TensorSize>& all() const { return sizes_; }

 private:
  std::map<std::string, TensorSize> sizes_;  // by published name, as float weights have them
};

}  // namespace longhand::model
