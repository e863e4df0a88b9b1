#include "client/rows/result_log.h"

#include <fmt/format.h>

namespace longhand::client {
namespace {

namespace json = boost::json;

Status CheckSettings(const std::filesystem::path& path,
                     const json::object& had,
                     const json::object& wanted) {
  for (const auto& [name, value] : wanted) {
    const json::value* before = had.if_contains(name);
    const std::string seen = before == nullptr ? "nothing" : ReadableValue(*before);
    if (seen == ReadableValue(value)) continue;
    return FailedPrecondition(path.string(), " was made with ", std::string(name), " ", seen,
                              ", and now it is ", ReadableValue(value),
                              "; give the same settings, or another --out or --name");
  }
  return OkStatus();
}

}  // namespace

std::string ReadableValue(const json::value& value) {
  return value.is_double() ? fmt::format("{}", value.get_double()) : json::serialize(value);
}

Result<std::unique_ptr<ResultLog>> ResultLog::Open(const std::filesystem::path& path,
                                                   const json::object& settings) {
  LONGHAND_ASSIGN_OR_RETURN(JsonLinesWriter writer, JsonLinesWriter::Append(path));
  auto log = std::unique_ptr<ResultLog>(new ResultLog(std::move(writer)));
  LONGHAND_ASSIGN_OR_RETURN(JsonLinesReader reader, JsonLinesReader::Open(path));
  bool has_settings = false;
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(std::optional<json::object> line, reader.Next());
    if (!line) break;
    if (const json::value* had = line->if_contains("settings");
        had != nullptr && had->is_object()) {
      LONGHAND_RETURN_IF_ERROR(CheckSettings(path, had->get_object(), settings));
      has_settings = true;
      continue;
    }
    const json::value* key = line->if_contains("key");
    if (key == nullptr || !key->is_string())
      return InvalidArgument(path.string(), ":", reader.line(), ": the result has no key");
    std::string name(key->get_string());
    log->results_[std::move(name)] = std::move(*line);
  }
  if (!has_settings) log->unwritten_settings_ = settings;
  return log;
}

const json::object* ResultLog::Find(const std::string& key) const {
  std::lock_guard lock(mutex_);
  const auto found = results_.find(key);
  return found == results_.end() ? nullptr : &found->second;
}

Status ResultLog::Add(const std::string& key, json::object result) {
  json::object line{{"key", key}};
  for (auto& [name, value] : result) line[name] = std::move(value);
  std::lock_guard lock(mutex_);
  if (unwritten_settings_) {
    LONGHAND_RETURN_IF_ERROR(writer_.Add({{"settings", *unwritten_settings_}}));
    unwritten_settings_.reset();
  }
  LONGHAND_RETURN_IF_ERROR(writer_.Add(line));
  results_[key] = std::move(line);
  return OkStatus();
}

}  // namespace longhand::client
