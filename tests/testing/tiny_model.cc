#include "tests/testing/tiny_model.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>

#include "common/bf16.h"
#include "worker/model/tensor_specs.h"

namespace longhand::testing {
namespace {

std::string DTypeInFile(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "F32";
    case DType::kF16: return "F16";
    case DType::kI32: return "I32";
    case DType::kF8E4M3: return "F8_E4M3";
    default: return "BF16";
  }
}

}  // namespace

ModelConfig TinyConfig() {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 98;
  config.max_position_embeddings = 1024;
  config.image_token_id = 90;
  config.video_token_id = 91;
  config.vision_start_token_id = 92;
  config.rope.mrope_section = {2, 3, 3};
  config.vision.depth = 2;
  config.vision.hidden_size = 32;
  config.vision.intermediate_size = 36;
  config.vision.num_heads = 2;
  config.vision.out_hidden_size = 64;
  config.vision.fullatt_block_indexes = {1};
  return config;
}

TestTensors RandomTensors(const ModelConfig& config, uint32_t seed, DType dtype) {
  std::mt19937 generator(seed);
  TestTensors tensors;
  for (const model::TensorSpec& spec : model::ExpectedTensors(config)) {
    TestTensor tensor{.dtype = dtype, .shape = spec.shape, .bytes = {}};
    int64_t count = 1;
    for (const int64_t dim : spec.shape) count *= dim;
    const bool is_matrix = spec.shape.size() > 1;
    const bool is_norm = !is_matrix && spec.name.ends_with("weight");
    const double fan_in = is_matrix ? static_cast<double>(count / spec.shape[0]) : 25.0;
    const double gain = spec.name == "lm_head.weight" ? 3.0 : 1.0;
    std::normal_distribution<float> normal(is_norm ? 1.0f : 0.0f,
                                           static_cast<float>(gain / std::sqrt(fan_in)));
    for (int64_t i = 0; i < count; ++i) {
      const float value = normal(generator);
      const Bf16 narrow(value);
      if (dtype == DType::kF32) {
        tensor.bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
      } else {
        tensor.bytes.append(reinterpret_cast<const char*>(&narrow), sizeof(narrow));
      }
    }
    tensors.emplace(spec.name, std::move(tensor));
  }
  return tensors;
}

std::vector<float> ToFloats(const TestTensor& tensor) {
  const size_t size = DTypeSize(tensor.dtype);
  std::vector<float> out(tensor.bytes.size() / size);
  for (size_t i = 0; i < out.size(); ++i) {
    if (tensor.dtype == DType::kF32) {
      std::memcpy(&out[i], tensor.bytes.data() + i * size, size);
    } else {
      Bf16 narrow;
      std::memcpy(&narrow, tensor.bytes.data() + i * size, size);
      out[i] = static_cast<float>(narrow);
    }
  }
  return out;
}

void WriteSafetensors(const std::filesystem::path& path, const TestTensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header += (header.size() > 1 ? ", \"" : "\"") + name + "\": {\"dtype\": \"" +
              DTypeInFile(tensor.dtype) + "\", \"shape\": [";
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      header += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
    }
    header += "], \"data_offsets\": [" + std::to_string(data.size()) + ", ";
    data += tensor.bytes;
    header += std::to_string(data.size()) + "]}";
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t size = header.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), sizeof(size));
  out << header << data;
  LONGHAND_CHECK(out.good()) << path.string();
}

}  // namespace longhand::testing
