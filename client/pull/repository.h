// Repository: what the hub says of a model at a revision, as far as a server needs it; or of a data
// set.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/pull/digest.h"
#include "common/hub_cache.h"
#include "common/status.h"

namespace longhand::client {

struct RepositoryFile {
  std::string name;    // from the repository's root
  int64_t size = 0;    // bytes
  std::string digest;  // hex; names the blob in the cache. Empty where the listing has none
  DigestKind digest_kind = DigestKind::kGitSha1;

  // From an answer to HEAD, whose ETag is either digest. kInternal where it is none.
  Status SetFacts(int64_t file_size, const std::string& etag);
};

struct Repository {
  std::string commit;
  std::vector<RepositoryFile> files;  // those that a server needs; the largest first

  int64_t TotalBytes() const;
  void Sort();
};

// Weights as safetensors, JSON, tokenizer files and chat templates, in the repository's root.
// Pickles run code when they are loaded, and are never among them.
//
// Of a data set: Parquet, in the root or in data/.
bool IsNeeded(std::string_view name, RepositoryKind kind = RepositoryKind::kModel);

// From the answer to GET /api/models/ID/revision/REVISION?blobs=true, or /api/datasets/... .
// Mirrors may know no `blobs`: then files have no digest. kFailedPrecondition when there are no
// safetensors in it, or no Parquet; kInternal when it is not such an answer.
Result<Repository> ParseRepository(const std::string& id,
                                   std::string_view json,
                                   RepositoryKind kind = RepositoryKind::kModel);

}  // namespace longhand::client
