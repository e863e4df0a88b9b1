// Checkpoint: the tensors of a Hugging Face directory, in one file or in shards with an index.
//
// Names are those of the published checkpoints ("model.layers.0...", "visual.blocks.0...",
// "lm_head.weight"), also when the files use the nested ones of transformers 5. Files are mapped;
// nothing is read until a tensor's bytes are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/mapped_file.h"
#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand::model {

struct CheckpointTensor {
  std::string file;
  std::string name_in_file;
  DType dtype = DType::kBf16;
  std::vector<int64_t> shape;
  const char* data = nullptr;  // row-major; aligned to nothing
  size_t num_bytes = 0;
};

// f32, bf16 or f16.
inline bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBf16 || dtype == DType::kF16;
}

// "bfloat16[64, 176]", for messages.
std::string ToString(const CheckpointTensor& tensor);

class Checkpoint {
 public:
  // Maps model.safetensors or, without it, what model.safetensors.index.json names. kNotFound when
  // there is neither, kInvalidArgument naming file and tensor for a file that is truncated or not
  // safetensors, a tensor that two files hold, or an index that disagrees with its files.
  static Result<Checkpoint> Open(const std::filesystem::path& directory);

  // Null when absent.
  const CheckpointTensor* Find(std::string_view name) const;
  const std::map<std::string, CheckpointTensor, std::less<>>& tensors() const { return tensors_; }
  // The tensor has been read: its pages may go.
  void Release(const CheckpointTensor& tensor) const;

 private:
  Status AddFile(const std::filesystem::path& path);

  std::map<std::string, MappedFile, std::less<>> files_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
};

}  // namespace longhand::model
