#include "tests/testing/tiny_adapter.h"

#include <cmath>
#include <fstream>
#include <random>

#include "common/adapter/adapter_targets.h"
#include "common/bf16.h"
#include "common/check.h"

namespace longhand::testing {
namespace {

std::string NameInFile(const std::string& module, bool nested) {
  const std::string prefix = "base_model.model.";
  if (!nested) return prefix + module;
  if (module.starts_with("visual.")) return prefix + "model." + module;
  return prefix + "model.language_model." + module.substr(std::string("model.").size());
}

TestTensor Random(int64_t rows, int64_t columns, double std, DType dtype, std::mt19937& random) {
  TestTensor tensor{.dtype = dtype, .shape = {rows, columns}, .bytes = {}};
  std::normal_distribution<float> normal(0, static_cast<float>(std));
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float value = normal(random);
    const Bf16 narrow(value);
    if (dtype == DType::kF32) {
      tensor.bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    } else {
      tensor.bytes.append(reinterpret_cast<const char*>(&narrow), sizeof(narrow));
    }
  }
  return tensor;
}

}  // namespace

TestTensors AdapterTensors(const ModelConfig& model, const AdapterOptions& options) {
  std::mt19937 random(options.seed);
  TestTensors tensors;
  for (const AdapterTarget& target : AdapterTargets(model)) {
    if (options.takes && !options.takes(target.module)) continue;
    const std::string name = NameInFile(target.module, options.nested_names);
    tensors[name + ".lora_A.weight"] =
        Random(options.rank, target.in_features,
               1 / std::sqrt(static_cast<double>(target.in_features)), options.dtype, random);
    tensors[name + ".lora_B.weight"] =
        Random(target.out_features, options.rank, 0.3, options.dtype, random);
  }
  return tensors;
}

void WriteAdapter(const std::filesystem::path& directory,
                  const AdapterOptions& options,
                  const TestTensors& tensors) {
  std::filesystem::create_directories(directory);
  std::ofstream config(directory / "adapter_config.json");
  config << R"({"peft_type": "LORA", "bias": "none", "r": )" << options.rank
         << R"(, "lora_alpha": )" << 2 * options.rank
         << R"(, "modules_to_save": null, "use_dora": false, "rank_pattern": {})"
         << (options.more_fields.empty() ? "" : ", ") << options.more_fields << "}";
  config.close();
  LONGHAND_CHECK(config.good()) << directory.string();
  WriteSafetensors(directory / "adapter_model.safetensors", tensors);
}

}  // namespace longhand::testing
