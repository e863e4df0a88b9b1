#include "client/pull/digest.h"

#include "common/check.h"

namespace longhand::client {

Digest::Digest(DigestKind kind, int64_t size) : context_(EVP_MD_CTX_new()) {
  const EVP_MD* algorithm = kind == DigestKind::kSha256 ? EVP_sha256() : EVP_sha1();
  LONGHAND_CHECK(EVP_DigestInit_ex(context_.get(), algorithm, nullptr) == 1);
  if (kind == DigestKind::kGitSha1) {
    const std::string head = "blob " + std::to_string(size);
    Add({head.c_str(), head.size() + 1});
  }
}

void Digest::Add(std::string_view bytes) {
  LONGHAND_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

std::string Digest::Hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LONGHAND_CHECK(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += kHex[digest[i] >> 4];
    hex += kHex[digest[i] & 15];
  }
  return hex;
}

}  // namespace longhand::client
