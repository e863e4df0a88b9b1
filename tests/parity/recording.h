// Recording: reference values that tools/oracle wrote, by name. Its README says what each name
// holds.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "shim/safetensors_header.h"

namespace longhand::parity {

// Immutable after Load(). Asking for a name that is not there, or for another type, is a bug of the
// test and ends it.
class Recording {
 public:
  // kNotFound when a file is missing, kInvalidArgument when it is malformed.
  static Result<Recording> Load(const std::filesystem::path& directory);

  bool Has(std::string_view name) const { return entries_.contains(std::string(name)); }
  const std::vector<int64_t>& Shape(std::string_view name) const { return Find(name).shape; }
  std::vector<float> Floats(std::string_view name) const;
  std::vector<int32_t> Ints(std::string_view name) const;
  std::vector<uint8_t> Bytes(std::string_view name) const;

  // What recording.json holds: about, images, cases, batch, sampling.
  const boost::json::object& notes() const { return notes_; }
  std::vector<std::string> CaseNames() const;
  const boost::json::object& Case(std::string_view name) const;
  // The files that a case shows, in order.
  std::vector<std::string> CaseImages(std::string_view name) const;
  std::filesystem::path ImagePath(std::string_view file) const {
    return directory_ / "images" / file;
  }

 private:
  template <typename T>
  std::vector<T> Read(std::string_view name, std::string_view dtype) const;
  const shim::SafetensorsEntry& Find(std::string_view name) const;

  std::filesystem::path directory_;
  std::string file_;  // recording.safetensors
  std::map<std::string, shim::SafetensorsEntry> entries_;
  boost::json::object notes_;
};

// The recording that the tests compare with, loaded once, and the checkpoint that it was made from:
// tests/data, unless LONGHAND_PARITY_RECORDING and LONGHAND_PARITY_CHECKPOINT name others.
const Recording& TestRecording();
std::filesystem::path TestCheckpoint();

}  // namespace longhand::parity
