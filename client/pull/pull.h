// Pull: a model from the hub into the cache that Hugging Face's tools and `serve --model ORG/NAME`
// read; or a data set.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>

#include "client/pull/hub_http.h"
#include "client/pull/pull_progress.h"
#include "client/pull/repository.h"
#include "common/hub_cache.h"
#include "common/status.h"

namespace longhand::client {

struct PullOptions {
  std::string id;
  RepositoryKind kind = RepositoryKind::kModel;
  std::string revision = "main";
  std::filesystem::path cache;
  int num_jobs = 4;  // files at once
};

struct PulledRepository {
  Repository repository;
  std::filesystem::path snapshot;
};

// Blocks. Several processes may pull the same repository at once: a file is downloaded by one of
// them. The revision's name points to the new snapshot when all of it is there. kResourceExhausted,
// with both numbers, when the disk has no room; otherwise as HubHttp::Get and BlobDownload::Run
// say.
Result<PulledRepository> Pull(const PullOptions& options,
                              const HubAccess& access,
                              PullProgress& progress);

}  // namespace longhand::client
