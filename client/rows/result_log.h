// ResultLog: what is known of each row, on disk as soon as it is known, so that work goes on where
// it stood.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "client/dataset/json_lines.h"
#include "common/status.h"

namespace longhand::client {

// As a person writes it: 0.9, and not 9E-1.
std::string ReadableValue(const boost::json::value& value);

// JSON lines: {"settings": {...}} first, then objects with "key". Any thread. Settings bind from
// the first result on.
class ResultLog {
 public:
  // kFailedPrecondition, naming both values, where the file was made with other settings.
  static Result<std::unique_ptr<ResultLog>> Open(const std::filesystem::path& path,
                                                 const boost::json::object& settings);

  // The latest of `key`; null where there is none. Valid until the key is added again.
  const boost::json::object* Find(const std::string& key) const;
  Status Add(const std::string& key, boost::json::object result);

 private:
  explicit ResultLog(JsonLinesWriter writer) : writer_(std::move(writer)) {}

  mutable std::mutex mutex_;
  JsonLinesWriter writer_;
  std::optional<boost::json::object> unwritten_settings_;
  std::map<std::string, boost::json::object> results_;
};

}  // namespace longhand::client
