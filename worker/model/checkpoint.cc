#include "worker/model/checkpoint.h"

#include <boost/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "common/config/json_fields.h"
#include "shim/safetensors_header.h"

namespace longhand::model {
namespace {

constexpr std::string_view kIndexFile = "model.safetensors.index.json";
constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kLfsPointer = "version https://git-lfs";

// transformers 5 keeps the text model under model.language_model and the encoder under
// model.visual.
std::string PublishedName(std::string_view name) {
  constexpr std::string_view kText = "model.language_model.";
  constexpr std::string_view kVision = "model.visual.";
  if (name.starts_with(kText)) return "model." + std::string(name.substr(kText.size()));
  if (name.starts_with(kVision)) return "visual." + std::string(name.substr(kVision.size()));
  return std::string(name);
}

// Those that tensors of these models have: I32 and F8_E4M3 where they are quantised.
std::optional<DType> ParseDType(std::string_view name) {
  if (name == "BF16") return DType::kBf16;
  if (name == "F16") return DType::kF16;
  if (name == "F32") return DType::kF32;
  if (name == "I32") return DType::kI32;
  if (name == "F8_E4M3") return DType::kF8E4M3;
  return std::nullopt;
}

// Tensor name (as in the files) -> file name.
Result<std::map<std::string, std::string>> ReadIndex(const std::filesystem::path& path) {
  LONGHAND_ASSIGN_OR_RETURN(const boost::json::object index, internal::ReadJsonObject(path));
  const boost::json::value* map = index.if_contains("weight_map");
  if (map == nullptr || !map->is_object() || map->get_object().empty()) {
    return InvalidArgument(kIndexFile,
                           ": field weight_map is missing; expected an object of "
                           "tensor names and file names");
  }
  std::map<std::string, std::string> files;
  for (const auto& [key, value] : map->get_object()) {
    const std::string name(key.data(), key.size());
    if (!value.is_string()) {
      return InvalidArgument(kIndexFile, ": tensor ", name, " has no file name");
    }
    const std::string file(value.get_string().c_str(), value.get_string().size());
    // A name with a directory in it could reach out of the checkpoint.
    if (file.empty() || std::filesystem::path(file).filename() != file || file == "..") {
      return InvalidArgument(kIndexFile, ": tensor ", name, " is in \"", file,
                             "\"; expected the name of a file in the same directory");
    }
    files.emplace(name, file);
  }
  return files;
}

}  // namespace

std::string ToString(const CheckpointTensor& tensor) {
  std::string out(DTypeName(tensor.dtype));
  out += "[";
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    out += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
  }
  return out + "]";
}

Result<Checkpoint> Checkpoint::Open(const std::filesystem::path& directory) {
  Checkpoint checkpoint;
  std::error_code ignored;
  // Beside a whole file an index is of what lay there before: the reference too takes the file.
  if (!std::filesystem::exists(directory / kSingleFile, ignored) &&
      std::filesystem::exists(directory / kIndexFile, ignored)) {
    LONGHAND_ASSIGN_OR_RETURN(const auto index, ReadIndex(directory / kIndexFile));
    std::set<std::string> files;
    for (const auto& [name, file] : index) files.insert(file);
    for (const std::string& file : files) {
      LONGHAND_RETURN_IF_ERROR(checkpoint.AddFile(directory / file));
    }
    for (const auto& [name, file] : index) {
      const CheckpointTensor* tensor = checkpoint.Find(PublishedName(name));
      if (tensor == nullptr || tensor->file != file) {
        return InvalidArgument(kIndexFile, ": tensor ", name, " should be in ", file, "; it is ",
                               tensor == nullptr ? "in no file" : "in " + tensor->file);
      }
    }
    return checkpoint;
  }
  Status status = checkpoint.AddFile(directory / kSingleFile);
  if (status.code() == StatusCode::kNotFound) {
    return NotFound("there is neither ", kSingleFile, " nor ", kIndexFile, " in ",
                    directory.string());
  }
  LONGHAND_RETURN_IF_ERROR(status);
  return checkpoint;
}

Status Checkpoint::AddFile(const std::filesystem::path& path) {
  const std::string file = path.filename().string();
  LONGHAND_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  if (mapped.bytes().empty()) return InvalidArgument(file, ": the file is empty");
  if (mapped.bytes().starts_with(kLfsPointer)) {
    return InvalidArgument(file, ": ", mapped.bytes().size(),
                           " bytes that point at the file in Git LFS; expected the file itself, "
                           "which `git lfs pull` or `longhand pull` brings");
  }
  auto entries = shim::ParseSafetensorsHeader(mapped.bytes());
  if (!entries.ok()) return entries.status().WithContext(file);
  for (const shim::SafetensorsEntry& entry : *entries) {
    const std::optional<DType> dtype = ParseDType(entry.dtype);
    if (!dtype) {
      return InvalidArgument(file, ": tensor ", entry.name, " is ", entry.dtype,
                             "; expected BF16, F16, F32, or in a quantised checkpoint I32 or F8_E4M3");
    }
    CheckpointTensor tensor{.file = file,
                            .name_in_file = entry.name,
                            .dtype = *dtype,
                            .shape = entry.shape,
                            .data = mapped.bytes().data() + entry.begin,
                            .num_bytes = static_cast<size_t>(entry.end - entry.begin)};
    const auto [it, added] = tensors_.emplace(PublishedName(entry.name), std::move(tensor));
    if (!added) {
      return InvalidArgument(file, ": tensor ", entry.name, " is already in ", it->second.file,
                             " as ", it->second.name_in_file);
    }
  }
  files_.emplace(file, std::move(mapped));
  return OkStatus();
}

const CheckpointTensor* Checkpoint::Find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

void Checkpoint::Release(const CheckpointTensor& tensor) const {
  const MappedFile& file = files_.find(tensor.file)->second;
  const auto begin = static_cast<size_t>(tensor.data - file.bytes().data());
  file.Release(begin, begin + tensor.num_bytes);
}

}  // namespace longhand::model
