// Random checkpoints of a tiny model, for tests of the loader and the runner.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/tensor_view.h"

namespace longhand::testing {

struct TestTensor {
  DType dtype = DType::kBf16;
  std::vector<int64_t> shape;
  std::string bytes;  // row-major
};
using TestTensors = std::map<std::string, TestTensor>;

// Two layers, four heads over two KV heads, 98 vocabulary rows (which four ranks cannot share
// evenly), an encoder of two blocks of which the second sees the whole image.
ModelConfig TinyConfig();

// Every tensor that `config` asks for, under published names; weights are scaled so that
// activations stay near 1 and logits apart.
TestTensors RandomTensors(const ModelConfig& config, uint32_t seed, DType dtype = DType::kBf16);

// Row-major values as the tensor holds them.
std::vector<float> ToFloats(const TestTensor& tensor);

void WriteSafetensors(const std::filesystem::path& path, const TestTensors& tensors);

}  // namespace longhand::testing
