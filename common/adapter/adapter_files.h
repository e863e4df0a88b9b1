// AdapterFiles: a PEFT LoRA adapter's directory, checked against the model that it is for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/adapter/adapter_config.h"
#include "common/config/model_config.h"
#include "common/mapped_file.h"
#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand {

// Row-major in the mapped file, aligned to nothing.
struct AdapterMatrix {
  const char* data = nullptr;  // null: not there
  DType dtype = DType::kF32;   // or bf16, f16
  int64_t rows = 0;
  int64_t columns = 0;
};

// The delta of a layer is scale * b * a.
struct AdapterPair {
  AdapterMatrix a;  // [rank, in_features]
  AdapterMatrix b;  // [out_features, rank]
};

class AdapterFiles {
 public:
  // Reads adapter_config.json and the header of adapter_model.safetensors, whose tensors may have
  // the names of any version of transformers. kNotFound when a file is missing. kInvalidArgument,
  // naming field, tensor or module, for an adapter of another kind or a rank above `max_rank`, a
  // module that this model has not or that cannot be adapted, a matrix of another shape, one of a
  // pair without the other, and a target module without matrices.
  static Result<AdapterFiles> Open(const std::filesystem::path& directory,
                                   const ModelConfig& model,
                                   int64_t max_rank);

  int64_t rank() const { return config_.rank; }
  float scale() const { return config_.scale; }
  // Of a layer's published name ("model.layers.0.self_attn.q_proj"); null when it has no delta.
  const AdapterPair* Find(std::string_view module) const;
  // Whether image embeddings depend on the adapter.
  bool changes_images() const;

 private:
  AdapterFiles(AdapterConfig config, MappedFile file)
      : config_(std::move(config)), file_(std::move(file)) {}
  Status ReadTensors();
  Status CheckPairs(const ModelConfig& model) const;

  AdapterConfig config_;
  MappedFile file_;
  std::map<std::string, AdapterPair, std::less<>> pairs_;  // by published name
};

}  // namespace longhand
