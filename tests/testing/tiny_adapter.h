// Random PEFT LoRA adapters, for tests that load one.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "common/config/model_config.h"
#include "tests/testing/tiny_model.h"

namespace longhand::testing {

struct AdapterOptions {
  int64_t rank = 4;
  uint32_t seed = 1;
  DType dtype = DType::kF32;
  bool nested_names = true;  // transformers 4.52's and later
  // Which modules, by their published names; empty: all.
  std::function<bool(const std::string& module)> takes = {};
  // Fields of adapter_config.json beside those that an adapter needs: "\"use_dora\": true".
  std::string more_fields = {};
};

// The tensors of adapter_model.safetensors, under the file's names.
TestTensors AdapterTensors(const ModelConfig& model, const AdapterOptions& options);

// adapter_config.json with lora_alpha = 2 r, and the tensors, in a directory that is made.
void WriteAdapter(const std::filesystem::path& directory,
                  const AdapterOptions& options,
                  const TestTensors& tensors);
inline void WriteAdapter(const std::filesystem::path& directory,
                         const ModelConfig& model,
                         const AdapterOptions& options = {}) {
  WriteAdapter(directory, options, AdapterTensors(model, options));
}

}  // namespace longhand::testing
