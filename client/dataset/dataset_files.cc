#include "client/dataset/dataset_files.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "client/pull/pull.h"
#include "common/hub_cache.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;

bool IsOfTrain(const fs::path& path) { return path.filename().string().rfind("train", 0) == 0; }

std::vector<fs::path> ParquetIn(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".parquet") files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  if (std::any_of(files.begin(), files.end(), IsOfTrain))
    files.erase(std::remove_if(files.begin(), files.end(), std::not_fn(IsOfTrain)), files.end());
  return files;
}

Result<std::vector<fs::path>> FilesOfFolder(const fs::path& folder) {
  for (const fs::path& place : {folder, folder / "data"}) {
    if (std::vector<fs::path> files = ParquetIn(place); !files.empty()) return files;
  }
  return NotFound(folder.string(), " has no *.parquet, and no data/*.parquet");
}

Result<fs::path> Download(const std::string& id, const std::string& revision) {
  LONGHAND_ASSIGN_OR_RETURN(const HubAccess access, HubAccess::FromEnvironment());
  std::fprintf(stderr, "downloading the data set %s\n", id.c_str());
  PullProgress progress;
  LONGHAND_ASSIGN_OR_RETURN(
      const PulledRepository pulled,
      Pull({.id = id, .kind = RepositoryKind::kDataset, .revision = revision, .cache = HubCache()},
           access, progress));
  return pulled.snapshot;
}

}  // namespace

Result<std::vector<fs::path>> FindDatasetFiles(const std::string& data,
                                               const std::string& revision) {
  std::error_code ignored;
  if (fs::is_directory(data, ignored)) return FilesOfFolder(data);
  if (fs::exists(data, ignored)) return std::vector<fs::path>{data};
  if (std::count(data.begin(), data.end(), '/') != 1 || !CheckRepositoryId(data).ok()) {
    return NotFound("there is no ", data,
                    "; it must be a .parquet or .jsonl file, a folder with *.parquet, or ORG/NAME "
                    "of the hub");
  }
  const Result<fs::path> cached = FindDataset(HubCache(), data, revision);
  if (cached.ok()) return FilesOfFolder(*cached);
  LONGHAND_ASSIGN_OR_RETURN(const fs::path snapshot, Download(data, revision));
  return FilesOfFolder(snapshot);
}

}  // namespace longhand::client
