#include "client/pull/digest.h"

namespace longhand::client {

FileDigest::FileDigest(DigestKind kind, int64_t size)
    : digest_(kind == DigestKind::kSha256 ? Digest::Algorithm::kSha256 : Digest::Algorithm::kSha1) {
  if (kind == DigestKind::kGitSha1) {
    const std::string head = "blob " + std::to_string(size);
    Add({head.c_str(), head.size() + 1});
  }
}

std::string FileDigest::Hex() {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (const char c : digest_.Finish()) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

}  // namespace longhand::client
