#include "tests/parity/recording.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "common/check.h"

namespace longhand::parity {
namespace {

Result<std::string> ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  if (!in || !(content << in.rdbuf())) return NotFound("cannot read ", path.string());
  return std::move(content).str();
}

std::filesystem::path FromEnvironment(const char* variable, std::string_view otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? std::filesystem::path(value)
                          : std::filesystem::path(LONGHAND_TEST_DATA) / otherwise;
}

}  // namespace

Result<Recording> Recording::Load(const std::filesystem::path& directory) {
  Recording recording;
  recording.directory_ = directory;
  LONGHAND_ASSIGN_OR_RETURN(recording.file_, ReadFile(directory / "recording.safetensors"));
  LONGHAND_ASSIGN_OR_RETURN(std::vector<shim::SafetensorsEntry> entries,
                            shim::ParseSafetensorsHeader(recording.file_));
  for (shim::SafetensorsEntry& entry : entries) recording.entries_[entry.name] = std::move(entry);

  LONGHAND_ASSIGN_OR_RETURN(const std::string json, ReadFile(directory / "recording.json"));
  boost::system::error_code error;
  boost::json::value notes = boost::json::parse(json, error);
  if (error || !notes.is_object()) {
    return InvalidArgument((directory / "recording.json").string(), " is not a JSON object");
  }
  recording.notes_ = std::move(notes.as_object());
  return recording;
}

const shim::SafetensorsEntry& Recording::Find(std::string_view name) const {
  const auto found = entries_.find(std::string(name));
  LONGHAND_CHECK(found != entries_.end()) << "the recording has no " << name;
  return found->second;
}

template <typename T>
std::vector<T> Recording::Read(std::string_view name, std::string_view dtype) const {
  const shim::SafetensorsEntry& entry = Find(name);
  LONGHAND_CHECK(entry.dtype == dtype) << name << " is " << entry.dtype << ", not " << dtype;
  std::vector<T> values(static_cast<size_t>(entry.end - entry.begin) / sizeof(T));
  if (!values.empty()) {
    std::memcpy(values.data(), file_.data() + entry.begin, values.size() * sizeof(T));
  }
  return values;
}

std::vector<float> Recording::Floats(std::string_view name) const {
  return Read<float>(name, "F32");
}
std::vector<int32_t> Recording::Ints(std::string_view name) const {
  return Read<int32_t>(name, "I32");
}
std::vector<uint8_t> Recording::Bytes(std::string_view name) const {
  return Read<uint8_t>(name, "U8");
}

std::vector<std::string> Recording::CaseNames() const {
  std::vector<std::string> names;
  for (const auto& entry : notes_.at("cases").as_object()) names.emplace_back(entry.key());
  return names;
}

const boost::json::object& Recording::Case(std::string_view name) const {
  return notes_.at("cases").as_object().at(name).as_object();
}

std::vector<std::string> Recording::CaseImages(std::string_view name) const {
  std::vector<std::string> files;
  for (const boost::json::value& file : Case(name).at("images").as_array()) {
    files.emplace_back(file.as_string());
  }
  return files;
}

const Recording& TestRecording() {
  static const Recording recording = [] {
    Result<Recording> loaded =
        Recording::Load(FromEnvironment("LONGHAND_PARITY_RECORDING", "recording"));
    return std::move(loaded).value();
  }();
  return recording;
}

std::filesystem::path TestCheckpoint() {
  return FromEnvironment("LONGHAND_PARITY_CHECKPOINT", "nano");
}

}  // namespace longhand::parity
