#include "common/adapter/adapter_config.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <string_view>

#include "common/config/json_fields.h"

namespace longhand {
namespace {

namespace json = boost::json;

constexpr const char* kFile = "adapter_config.json";
constexpr int64_t kMaxRank = 1 << 16;  // of any adapter; what is served is less

// What they say is read below, or does not change how the matrices are applied.
constexpr auto kKnown = std::to_array<std::string_view>({"auto_mapping",
                                                         "base_model_name_or_path",
                                                         "bias",
                                                         "corda_config",
                                                         "eva_config",
                                                         "exclude_modules",
                                                         "inference_mode",
                                                         "init_lora_weights",
                                                         "loftq_config",
                                                         "lora_alpha",
                                                         "lora_dropout",
                                                         "megatron_core",
                                                         "peft_type",
                                                         "peft_version",
                                                         "qalora_group_size",
                                                         "r",
                                                         "revision",
                                                         "target_modules",
                                                         "task_type",
                                                         "use_rslora",
                                                         "layers_pattern",
                                                         "runtime_config"});

bool IsNothing(const json::value& value) {
  return value.is_null() || (value.is_bool() && !value.get_bool()) ||
         (value.is_array() && value.get_array().empty()) ||
         (value.is_object() && value.get_object().empty());
}

Status CheckNothingElse(const json::object& config) {
  for (const auto& [key, value] : config) {
    const std::string_view name(key.data(), key.size());
    if (IsNothing(value) || std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end()) continue;
    std::string shown = json::serialize(value);
    if (shown.size() > 60) shown = shown.substr(0, 60) + "...";
    return InvalidArgument(kFile, ": ", name, " is ", shown,
                           "; such adapters are not served, it must be null, false or empty");
  }
  return OkStatus();
}

// These begin from a base that was changed with the adapter, which is not the one that is served.
Status CheckInitialWeights(const json::object& config) {
  const json::value* given = config.if_contains("init_lora_weights");
  if (given == nullptr || !given->is_string()) return OkStatus();
  const std::string name(given->get_string().c_str());
  for (const char* changed : {"pissa", "olora", "corda", "loftq"}) {
    if (name.rfind(changed, 0) == 0) {
      return InvalidArgument(kFile, ": init_lora_weights is '", name,
                             "', which changes the base model's weights; such adapters are not "
                             "served unless PEFT converts them to LoRA");
    }
  }
  return OkStatus();
}

Result<std::vector<std::string>> ReadTargets(const json::object& config) {
  std::vector<std::string> targets;
  const json::value* given = config.if_contains("target_modules");
  if (given == nullptr || !given->is_array()) return targets;
  for (const json::value& target : given->get_array()) {
    if (!target.is_string()) {
      return InvalidArgument(kFile, ": target_modules has ", json::serialize(target).substr(0, 60),
                             "; expected names");
    }
    targets.emplace_back(target.get_string().c_str(), target.get_string().size());
  }
  return targets;
}

}  // namespace

Result<AdapterConfig> AdapterConfig::Load(const std::filesystem::path& directory) {
  LONGHAND_ASSIGN_OR_RETURN(const json::object object, internal::ReadJsonObject(directory / kFile));
  LONGHAND_RETURN_IF_ERROR(CheckNothingElse(object));
  LONGHAND_RETURN_IF_ERROR(CheckInitialWeights(object));
  Status status;
  internal::JsonFields fields(kFile, "", object, status);
  fields.OneOf("peft_type", {"LORA"});
  fields.OneOf("bias", {"none"});
  AdapterConfig config;
  config.rank = fields.Int("r", 1, kMaxRank);
  const double alpha = fields.Number("lora_alpha", -1e6, 1e6);
  const auto rank = static_cast<double>(config.rank);
  config.scale =
      static_cast<float>(alpha / (fields.Bool("use_rslora", false) ? std::sqrt(rank) : rank));
  LONGHAND_RETURN_IF_ERROR(status);
  LONGHAND_ASSIGN_OR_RETURN(config.target_modules, ReadTargets(object));
  const json::value* excluded = object.if_contains("exclude_modules");
  config.excludes_modules = excluded != nullptr && !IsNothing(*excluded);
  return config;
}

}  // namespace longhand
