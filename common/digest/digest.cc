#include "common/digest/digest.h"

#include <openssl/evp.h>

#include "common/check.h"

namespace longhand {

void Digest::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Digest::Digest(Algorithm algorithm) : context_(EVP_MD_CTX_new()) {
  const EVP_MD* hash = algorithm == Algorithm::kSha256 ? EVP_sha256() : EVP_sha1();
  LONGHAND_CHECK(EVP_DigestInit_ex(context_.get(), hash, nullptr) == 1);
}

void Digest::Add(std::string_view bytes) {
  LONGHAND_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

std::string Digest::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LONGHAND_CHECK(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
  return {reinterpret_cast<const char*>(digest), size};
}

}  // namespace longhand
