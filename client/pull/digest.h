// Digest: what a repository calls a file's content by, computed as the bytes come.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace longhand::client {

enum class DigestKind {
  kSha256,   // files in Git LFS
  kGitSha1,  // others: SHA-1 of "blob SIZE\0" and the content, as git has it
};

class Digest {
 public:
  // `size` is the whole content's, in bytes.
  Digest(DigestKind kind, int64_t size);

  void Add(std::string_view bytes);
  std::string Hex();  // once, at the end

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace longhand::client
