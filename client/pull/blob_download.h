// BlobDownload: one file's content into the cache, whatever happens to the connection meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>

#include "client/pull/digest.h"
#include "client/pull/hub_http.h"
#include "client/pull/pull_progress.h"
#include "client/pull/repository.h"
#include "common/status.h"

namespace longhand::client {

struct RetryPolicy {
  int max_failures = 6;                  // one after the other, without a byte between them
  std::chrono::milliseconds pause{500};  // doubled from failure to failure
  std::chrono::seconds max_pause{60};    // a hub that asks for more is not waited for
};

// One thread. What has come stays in DIGEST.incomplete, and the next attempt, or the next process,
// goes on from there. The blob appears, by rename, when its digest is right.
class BlobDownload {
 public:
  // All outlive this. `path` is the URL's below the endpoint.
  BlobDownload(const RepositoryFile& file,
               std::string path,
               std::filesystem::path blobs,
               HubHttp& http,
               PullProgress& progress,
               const std::atomic<bool>& stop,
               RetryPolicy policy = {});
  ~BlobDownload();
  BlobDownload(const BlobDownload&) = delete;
  BlobDownload& operator=(const BlobDownload&) = delete;

  // The caller holds the blob's lock. kDataLoss when what the hub sends has another digest, twice.
  Status Run();

 private:
  Status Open();
  Status Begin();  // anew
  Status Attempt();
  Status Write(std::string_view bytes);
  Status Finish();
  Status Pause(const Status& why, int num_failures);
  Status FileError(const char* what) const;

  const RepositoryFile& file_;
  const std::string path_;
  const std::filesystem::path blob_;
  const std::filesystem::path incomplete_;
  HubHttp& http_;
  PullProgress& progress_;
  const std::atomic<bool>& stop_;
  const RetryPolicy policy_;
  int fd_ = -1;
  int64_t size_ = 0;  // of what has come
  FileDigest digest_;
};

}  // namespace longhand::client
