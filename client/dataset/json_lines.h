// Files with a JSON object a line.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "common/status.h"

namespace longhand::client {

// One thread.
class JsonLinesReader {
 public:
  static Result<JsonLinesReader> Open(const std::filesystem::path& path);

  // Nothing after the last; empty lines are passed over. kInvalidArgument naming file and line
  // where one is no object.
  Result<std::optional<boost::json::object>> Next();
  // Whether what was read last ended with its newline: the last line of a file that a process
  // could not finish does not.
  bool was_whole() const { return was_whole_; }
  int64_t line() const { return line_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  int64_t line_ = 0;
  bool was_whole_ = true;
};

// Appends lines, each of which is on its way to the disk when Append returns. One thread at a time.
class JsonLinesWriter {
 public:
  // Half a line at the end, of a process that was killed, is cut off.
  static Result<JsonLinesWriter> Append(const std::filesystem::path& path);

  Status Add(const boost::json::object& object);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

// Makes the folder of `path`, and writes the file anew, by rename.
Status WriteWhole(const std::filesystem::path& path, const std::string& content);

}  // namespace longhand::client
