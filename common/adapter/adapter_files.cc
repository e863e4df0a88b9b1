#include "common/adapter/adapter_files.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "common/adapter/adapter_targets.h"
#include "shim/safetensors_header.h"

namespace longhand {
namespace {

constexpr const char* kFile = "adapter_model.safetensors";

std::optional<DType> ParseDType(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "BF16") return DType::kBf16;
  if (name == "F16") return DType::kF16;
  return std::nullopt;
}

Status CheckShape(const std::string& module,
                  const char* which,
                  const AdapterMatrix& matrix,
                  int64_t rows,
                  int64_t columns) {
  if (matrix.data == nullptr) {
    return InvalidArgument(kFile, ": ", module, " has no ", which, ".weight");
  }
  if (matrix.rows == rows && matrix.columns == columns) return OkStatus();
  return InvalidArgument(kFile, ": ", which, " of ", module, " is [", matrix.rows, ", ",
                         matrix.columns, "]; it must be [", rows, ", ", columns, "]");
}

// PEFT's rule for a list of names.
bool Names(const std::string& target, const std::string& module) {
  return target == module || module.ends_with("." + target);
}

}  // namespace

Result<AdapterFiles> AdapterFiles::Open(const std::filesystem::path& directory,
                                        const ModelConfig& model,
                                        int64_t max_rank) {
  LONGHAND_ASSIGN_OR_RETURN(AdapterConfig config, AdapterConfig::Load(directory));
  if (config.rank > max_rank) {
    return InvalidArgument("adapter_config.json: r is ", config.rank, "; at most ", max_rank,
                           " is allowed (--max-lora-rank)");
  }
  LONGHAND_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(directory / kFile));
  AdapterFiles files(std::move(config), std::move(file));
  LONGHAND_RETURN_IF_ERROR(files.ReadTensors());
  LONGHAND_RETURN_IF_ERROR(files.CheckPairs(model));
  return files;
}

Status AdapterFiles::ReadTensors() {
  constexpr std::string_view kPrefix = "base_model.model.";
  constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight";
  if (file_.bytes().empty()) return InvalidArgument(kFile, ": the file is empty");
  auto entries = shim::ParseSafetensorsHeader(file_.bytes());
  if (!entries.ok()) return entries.status().WithContext(kFile);
  for (const shim::SafetensorsEntry& entry : *entries) {
    const std::string_view name = entry.name;
    const bool is_a = name.ends_with(kA);
    if (!name.starts_with(kPrefix) || (!is_a && !name.ends_with(kB))) {
      return InvalidArgument(kFile, ": tensor ", name, " is no matrix of a linear layer: ", kPrefix,
                             "MODULE", kA, " or ", kB);
    }
    const std::optional<DType> dtype = ParseDType(entry.dtype);
    if (!dtype || entry.shape.size() != 2) {
      return InvalidArgument(kFile, ": tensor ", name, " is ", entry.dtype, " with ",
                             entry.shape.size(),
                             " dimensions; expected a matrix of F32, BF16 or F16");
    }
    const std::string module =
        PublishedModule(name.substr(kPrefix.size(), name.size() - kPrefix.size() - kA.size()));
    AdapterPair& pair = pairs_[module];
    AdapterMatrix& matrix = is_a ? pair.a : pair.b;
    if (matrix.data != nullptr) {
      return InvalidArgument(kFile, ": tensor ", name, " is there twice, under two names");
    }
    matrix = {file_.bytes().data() + entry.begin, *dtype, entry.shape[0], entry.shape[1]};
  }
  return OkStatus();
}

Status AdapterFiles::CheckPairs(const ModelConfig& model) const {
  std::set<std::string> unknown;
  for (const auto& [module, pair] : pairs_) unknown.insert(module);
  std::vector<std::string> unused = config_.target_modules;
  for (const AdapterTarget& target : AdapterTargets(model)) {
    const auto named = [&](const std::string& name) {
      return Names(PublishedModule(name), target.module);
    };
    const bool is_named =
        std::any_of(config_.target_modules.begin(), config_.target_modules.end(), named);
    std::erase_if(unused, named);
    const AdapterPair* pair = Find(target.module);
    if (pair == nullptr) {
      if (!is_named || config_.excludes_modules) continue;
      return InvalidArgument(kFile, ": there are no matrices for ", target.module,
                             ", which target_modules of adapter_config.json names");
    }
    unknown.erase(target.module);
    LONGHAND_RETURN_IF_ERROR(
        CheckShape(target.module, "lora_A", pair->a, config_.rank, target.in_features));
    LONGHAND_RETURN_IF_ERROR(
        CheckShape(target.module, "lora_B", pair->b, target.out_features, config_.rank));
  }
  if (!unknown.empty()) {
    return InvalidArgument(kFile, ": ", *unknown.begin(),
                           " is no module that can have an adapter here");
  }
  if (!unused.empty()) {
    return InvalidArgument("adapter_config.json: target_modules names ", unused.front(),
                           ", which is no module that can have an adapter here");
  }
  if (pairs_.empty()) return InvalidArgument(kFile, ": there are no tensors");
  return OkStatus();
}

const AdapterPair* AdapterFiles::Find(std::string_view module) const {
  const auto it = pairs_.find(module);
  return it == pairs_.end() ? nullptr : &it->second;
}

bool AdapterFiles::changes_images() const {
  return std::any_of(pairs_.begin(), pairs_.end(),
                     [](const auto& each) { return each.first.starts_with("visual."); });
}

}  // namespace longhand
