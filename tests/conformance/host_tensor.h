// HostTensor: a tensor that owns its memory, and random ones. Inputs and outputs of conformance
// cases.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/tensor_view.h"

namespace longhand::conformance {

struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  HostTensor() = default;
  HostTensor(DType type, std::vector<int64_t> dims);  // zeros

  int64_t num_elements() const;
  double At(int64_t i) const;
  void Set(int64_t i, double value);
  // A view of these very bytes, for backends in host memory and for packing weights.
  TensorView view();
  // Rows [begin, begin + count) of dimension 0, copied.
  HostTensor Rows(int64_t begin, int64_t count) const;
  std::string ToString() const;
};

// A view of memory with this shape, of at most five dimensions.
TensorView MakeView(void* data, DType dtype, const std::vector<int64_t>& shape);

HostTensor Int32(const std::vector<int64_t>& values, std::vector<int64_t> shape = {});
HostTensor Int64(const std::vector<int64_t>& values);

// The same numbers on every machine: splitmix64.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t Next();
  int64_t Below(int64_t limit) {
    return static_cast<int64_t>(Next() % static_cast<uint64_t>(limit));
  }
  HostTensor Normal(std::vector<int64_t> shape, DType dtype, double scale = 1.0);
  HostTensor Bytes(std::vector<int64_t> shape);
  // The numbers 0 .. count - 1 in random order.
  std::vector<int64_t> Permutation(int64_t count);

 private:
  uint64_t state_;
};

}  // namespace longhand::conformance
