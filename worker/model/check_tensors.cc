#include <functional>
#include <set>
#include <string_view>

#include "worker/model/checkpoint.h"
#include "worker/model/tensor_specs.h"

namespace longhand::model {
namespace {

// Computed tables, which other programs save beside the weights.
bool IsIgnored(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_pos_emb.inv_freq");
}

std::string ShapeToString(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

}  // namespace

Status CheckTensors(const Checkpoint& checkpoint, const ModelConfig& config) {
  std::set<std::string, std::less<>> known;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const CheckpointTensor* tensor = checkpoint.Find(spec.name);
    if (tensor == nullptr) {
      const bool head = spec.name == "lm_head.weight";
      return InvalidArgument("the checkpoint in ", config.directory.string(), " has no tensor ",
                             spec.name, "; expected one of shape ", ShapeToString(spec.shape),
                             head ? ", as tie_word_embeddings is false in config.json" : "");
    }
    if (tensor->shape != spec.shape) {
      return InvalidArgument(tensor->file, ": tensor ", tensor->name_in_file, " is ",
                             ToString(*tensor), "; expected the shape ", ShapeToString(spec.shape),
                             " that config.json asks for");
    }
    if (spec.dtype ? tensor->dtype != *spec.dtype : !IsFloat(tensor->dtype)) {
      return InvalidArgument(tensor->file, ": tensor ", tensor->name_in_file, " is ",
                             ToString(*tensor), "; expected ",
                             spec.dtype ? DTypeName(*spec.dtype) : "bfloat16, float16 or float32");
    }
    known.insert(spec.name);
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (known.contains(name) || IsIgnored(name)) continue;
    return InvalidArgument(tensor.file, ": tensor ", tensor.name_in_file, " ", ToString(tensor),
                           " belongs to no part of the model that config.json describes");
  }
  return OkStatus();
}

}  // namespace longhand::model
