// ApiKeys: who may call. Keys are known by their SHA-256 alone.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace longhand::api {

// Immutable: any thread.
class ApiKeys {
 public:
  // No keys: everybody may call.
  ApiKeys() = default;
  // A key a line, as KEY or NAME:KEY; KEY is the key itself or sha256:DIGEST, 64 hexadecimal
  // digits. Empty lines and those that begin with # say nothing. kInvalidArgument naming the line;
  // also for a file without keys.
  static Result<ApiKeys> Parse(std::string_view text);
  static Result<ApiKeys> Load(const std::filesystem::path& file);

  bool required() const { return !keys_.empty(); }
  // The name of the key that `authorization` ("Bearer KEY") has; empty when no key is required.
  // kUnauthenticated for another. Takes as long for a wrong key as for a right one.
  Result<std::string> Check(std::string_view authorization) const;

 private:
  using Digest = std::array<uint8_t, 32>;
  struct Key {
    std::string name;
    Digest digest;
  };
  static Digest DigestOf(std::string_view key);

  std::vector<Key> keys_;
};

}  // namespace longhand::api
