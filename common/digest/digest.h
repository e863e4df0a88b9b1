// Digest: a cryptographic hash of bytes, computed as they come. OpenSSL does the work.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace longhand {

class Digest {
 public:
  enum class Algorithm { kSha256, kSha1 };

  explicit Digest(Algorithm algorithm = Algorithm::kSha256);

  void Add(std::string_view bytes);
  std::string Finish();  // 32 bytes, or 20; once, at the end

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace longhand
