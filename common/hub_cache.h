// The cache in which Hugging Face's tools, and `longhand pull`, keep what they download:
//
//   CACHE/models--org--name/refs/main                  a commit
//                          /blobs/DIGEST               SHA-256 of large files, git's SHA-1 of
//                          others /snapshots/COMMIT/FILE  ->  ../../blobs/DIGEST
//
// and datasets--org--name alike.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "common/status.h"

namespace longhand {

// HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface.
std::filesystem::path HubHome();
// HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HubHome()/hub.
std::filesystem::path HubCache();

// name or org/name, of letters, digits, '-', '_' and '.'. kInvalidArgument otherwise.
Status CheckRepositoryId(std::string_view id);
// A branch, a tag or a commit: what may be a relative path. kInvalidArgument otherwise.
Status CheckRevision(std::string_view revision);

enum class RepositoryKind { kModel, kDataset };

// The repository's folder of `cache`.
std::filesystem::path RepositoryFolder(const std::filesystem::path& cache,
                                       std::string_view id,
                                       RepositoryKind kind = RepositoryKind::kModel);

// The snapshot of the model `id` at a revision. kNotFound, saying how to get it, when it is not in
// `cache`.
Result<std::filesystem::path> FindSnapshot(const std::filesystem::path& cache,
                                           const std::string& id,
                                           const std::string& revision);
// Of a data set, at a branch or tag whose snapshot is all there.
Result<std::filesystem::path> FindDataset(const std::filesystem::path& cache,
                                          const std::string& id,
                                          const std::string& revision);

struct LocatedModel {
  std::filesystem::path directory;
  std::string name;  // the directory's, or the repository's id
};

// What `--model` means: a directory, else a repository of HubCache().
Result<LocatedModel> LocateModel(const std::string& model, const std::string& revision);

}  // namespace longhand
