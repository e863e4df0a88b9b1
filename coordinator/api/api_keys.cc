#include "coordinator/api/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <fstream>
#include <iterator>
#include <optional>

#include "common/trim.h"

namespace longhand::api {
namespace {

constexpr std::string_view kHashPrefix = "sha256:";
constexpr std::string_view kScheme = "bearer ";
constexpr std::string_view kBlanks = " \t\r";

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

template <typename Digest>
std::optional<Digest> ParseHex(std::string_view hex) {
  Digest digest{};
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    const int high = HexDigit(hex[2 * i]);
    const int low = HexDigit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return digest;
}

bool BeginsWithScheme(std::string_view authorization) {
  if (authorization.size() < kScheme.size()) return false;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != kScheme[i]) return false;
  }
  return true;
}

}  // namespace

ApiKeys::Digest ApiKeys::DigestOf(std::string_view key) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

Result<ApiKeys> ApiKeys::Parse(std::string_view text) {
  ApiKeys keys;
  int number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end), kBlanks);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty() || line.front() == '#') continue;
    std::string name = "key-" + std::to_string(keys.keys_.size() + 1);
    std::string_view key = line;
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && line.substr(0, colon + 1) != kHashPrefix) {
      name = Trim(line.substr(0, colon), kBlanks);
      key = Trim(line.substr(colon + 1), kBlanks);
    }
    const bool is_hash = key.substr(0, kHashPrefix.size()) == kHashPrefix;
    const auto digest =
        is_hash ? ParseHex<Digest>(key.substr(kHashPrefix.size())) : std::optional(DigestOf(key));
    if (name.empty() || key.empty() || !digest) {
      return InvalidArgument("line ", number,
                             " is no key; it must be KEY or NAME:KEY, with KEY or sha256:DIGEST");
    }
    keys.keys_.push_back({std::move(name), *digest});
  }
  if (keys.keys_.empty())
    return InvalidArgument("there is no key; at least one line must have one");
  return keys;
}

Result<ApiKeys> ApiKeys::Load(const std::filesystem::path& file) {
  std::error_code ignored;
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file, ignored))
    return InvalidArgument("--api-key-file ", file.string(), " cannot be read");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  Result<ApiKeys> keys = Parse(text);
  if (!keys.ok()) return keys.status().WithContext("--api-key-file " + file.string());
  return keys;
}

Result<std::string> ApiKeys::Check(std::string_view authorization) const {
  if (!required()) return std::string();
  if (!BeginsWithScheme(authorization)) {
    return Status(StatusCode::kUnauthenticated,
                  "a key is required; send the header 'Authorization: Bearer KEY'");
  }
  const Digest digest = DigestOf(Trim(authorization.substr(kScheme.size()), kBlanks));
  const Key* found = nullptr;
  for (const Key& key : keys_) {
    if (CRYPTO_memcmp(key.digest.data(), digest.data(), digest.size()) == 0) found = &key;
  }
  if (found == nullptr) return Status(StatusCode::kUnauthenticated, "the key is not known here");
  return found->name;
}

}  // namespace longhand::api
