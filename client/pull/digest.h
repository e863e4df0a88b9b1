// FileDigest: what a repository calls a file's content by, computed as the bytes come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/digest/digest.h"

namespace longhand::client {

enum class DigestKind {
  kSha256,   // files in Git LFS
  kGitSha1,  // others: SHA-1 of "blob SIZE\0" and the content, as git has it
};

class FileDigest {
 public:
  // `size` is the whole content's, in bytes.
  FileDigest(DigestKind kind, int64_t size);

  void Add(std::string_view bytes) { digest_.Add(bytes); }
  std::string Hex();  // once, at the end

 private:
  Digest digest_;
};

}  // namespace longhand::client
