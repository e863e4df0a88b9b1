#include "client/pull/pull.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "client/pull/blob_download.h"
#include "client/pull/file_lock.h"
#include "common/hub_cache.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxAnswerBytes = size_t{32} << 20;
constexpr int64_t kSpareBytes = int64_t{64} << 20;  // of the disk, for all else
constexpr int kMaxFailures = 5;

struct Folders {
  fs::path repository;
  fs::path locks;

  fs::path blobs() const { return repository / "blobs"; }
  fs::path snapshot(const std::string& commit) const { return repository / "snapshots" / commit; }
};

Status MakeFolders(const Folders& folders, const std::string& commit) {
  for (const fs::path& folder : {folders.locks, folders.blobs(), folders.snapshot(commit)}) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return Internal("cannot make ", folder.string(), ": ", error.message());
  }
  return OkStatus();
}

// A name for what is renamed into its place.
fs::path Temporary(const fs::path& path) {
  return path.string() + "." + std::to_string(getpid()) + ".tmp";
}

Status Rename(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  return error ? Internal("cannot rename ", from.string(), ": ", error.message()) : OkStatus();
}

Status WriteRef(const fs::path& refs, const std::string& revision, const std::string& commit) {
  const fs::path path = refs / revision;
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const fs::path temporary = Temporary(path);
  std::ofstream file(temporary);
  file << commit;
  file.close();
  if (!file) return Internal("cannot write ", temporary.string());
  return Rename(temporary, path);
}

Status Link(const fs::path& snapshot, const RepositoryFile& file) {
  const fs::path temporary = Temporary(snapshot / file.name);
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_directories(temporary.parent_path(), error);
  fs::path blobs = "../../blobs";
  if (fs::path(file.name).has_parent_path()) blobs = ".." / blobs;
  fs::create_symlink(blobs / file.digest, temporary, error);
  if (error) return Internal("cannot link ", temporary.string(), ": ", error.message());
  return Rename(temporary, snapshot / file.name);
}

bool IsThere(const fs::path& blob, const RepositoryFile& file) {
  std::error_code error;
  return fs::file_size(blob, error) == static_cast<uintmax_t>(file.size) && !error;
}

Status CheckDisk(const fs::path& blobs, const std::vector<RepositoryFile>& files) {
  int64_t needed = 0;
  for (const RepositoryFile& file : files) {
    if (IsThere(blobs / file.digest, file)) continue;
    std::error_code error;
    const uintmax_t come = fs::file_size(blobs / (file.digest + ".incomplete"), error);
    needed += file.size - (error ? 0 : std::min(static_cast<int64_t>(come), file.size));
  }
  std::error_code error;
  const fs::space_info space = fs::space(blobs, error);
  if (error || needed == 0 || static_cast<int64_t>(space.available) >= needed + kSpareBytes)
    return OkStatus();
  return ResourceExhausted(needed, " bytes are to be downloaded, and the disk of ", blobs.string(),
                           " has ", space.available, "; it must have ", kSpareBytes,
                           " more than the download. HF_HOME names another place");
}

// Of its pages and files below the endpoint.
std::string Prefix(const PullOptions& options) {
  return options.kind == RepositoryKind::kDataset ? "datasets/" : "";
}

Status Explain(const Status& status, const PullOptions& options, const HubAccess& access) {
  const std::string page = access.endpoint + "/" + Prefix(options) + options.id;
  switch (status.code()) {
    case StatusCode::kUnauthenticated:
      return Status(status.code(),
                    status.message() + "; " + page + " does not exist, or needs " +
                        (access.token.empty() ? "a token: set HF_TOKEN"
                                              : "another token than the one it was given"));
    case StatusCode::kPermissionDenied:
      return Status(status.code(), status.message() + "; ask for access at " + page);
    case StatusCode::kNotFound:
      return Status(status.code(), status.message() + "; there is no " + page + " at revision " +
                                       options.revision);
    default:
      return status;
  }
}

// Asks again where an error may pass.
Status AskPatiently(PullProgress& progress, const std::function<Status()>& ask) {
  std::chrono::milliseconds pause(500);
  for (int i = 1;; ++i, pause *= 2) {
    const Status status = ask();
    const bool may_pass = status.code() == StatusCode::kUnavailable ||
                          status.code() == StatusCode::kResourceExhausted;
    const auto wait = std::max<std::chrono::milliseconds>(
        pause, std::chrono::seconds(status.retry_after_seconds()));
    if (!may_pass || i == kMaxFailures || wait > RetryPolicy().max_pause) return status;
    progress.Say(status.message() + "; again in " + std::to_string(wait.count()) + " ms");
    std::this_thread::sleep_for(wait);
  }
}

Result<Repository> AskForListing(const PullOptions& options,
                                 HubHttp& http,
                                 PullProgress& progress) {
  const bool is_dataset = options.kind == RepositoryKind::kDataset;
  const std::string path = (is_dataset ? "/api/datasets/" : "/api/models/") +
                           HubHttp::Escape(options.id, true) + "/revision/" +
                           HubHttp::Escape(options.revision, false) + "?blobs=true";
  std::string answer;
  LONGHAND_RETURN_IF_ERROR(AskPatiently(progress, [&] {
    answer.clear();
    return http.Get(path, 0, [&](std::string_view bytes, bool) {
      answer += bytes;
      return answer.size() <= kMaxAnswerBytes ? OkStatus()
                                              : Internal("the hub's answer has no end");
    });
  }));
  return ParseRepository(options.id, answer, options.kind);
}

std::string PathOf(const PullOptions& options,
                   const std::string& commit,
                   const RepositoryFile& file) {
  return "/" + Prefix(options) + HubHttp::Escape(options.id, true) + "/resolve/" + commit + "/" +
         HubHttp::Escape(file.name, true);
}

Result<Repository> AskHub(const PullOptions& options, HubHttp& http, PullProgress& progress) {
  LONGHAND_ASSIGN_OR_RETURN(Repository repository, AskForListing(options, http, progress));
  for (RepositoryFile& file : repository.files) {
    if (!file.digest.empty()) continue;
    LONGHAND_RETURN_IF_ERROR(AskPatiently(progress, [&]() -> Status {
      LONGHAND_ASSIGN_OR_RETURN(const HubHttp::FileFacts facts,
                                http.Head(PathOf(options, repository.commit, file)));
      return file.SetFacts(facts.size, facts.digest);
    }));
  }
  repository.Sort();
  return repository;
}

// The files are taken in turn by `num_jobs` threads; the first error stops all.
class Downloads {
 public:
  Downloads(const PullOptions& options,
            const HubAccess& access,
            const Folders& folders,
            const Repository& repository,
            PullProgress& progress)
      : options_(options),
        access_(access),
        folders_(folders),
        repository_(repository),
        progress_(progress) {}

  Status Run() {
    const size_t num_jobs =
        std::min(repository_.files.size(), static_cast<size_t>(options_.num_jobs));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < num_jobs; ++i) threads.emplace_back([this] { Work(); });
    for (std::thread& thread : threads) thread.join();
    return status_;
  }

 private:
  void Work() {
    HubHttp http(access_, stop_);
    while (!stop_) {
      const size_t idx = next_++;
      if (idx >= repository_.files.size()) return;
      const Status status = Download(repository_.files[idx], http);
      if (!status.ok()) Fail(status);
    }
  }

  void Fail(const Status& status) {
    std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = status;
    stop_ = true;
  }

  Status Download(const RepositoryFile& file, HubHttp& http) {
    LONGHAND_ASSIGN_OR_RETURN(
        const FileLock lock, FileLock::Take(folders_.locks / (file.digest + ".lock"), stop_, [&] {
          progress_.Say(file.name + ": waiting for another process that downloads it");
        }));
    const std::string size = std::to_string(file.size) + " bytes";
    if (IsThere(folders_.blobs() / file.digest, file)) {
      progress_.present_bytes += file.size;
      progress_.Say(file.name + ": here already, " + size);
    } else {
      BlobDownload download(file, PathOf(options_, repository_.commit, file), folders_.blobs(),
                            http, progress_, stop_);
      LONGHAND_RETURN_IF_ERROR(download.Run());
      progress_.Say(file.name + ": downloaded, " + size);
    }
    ++progress_.finished_files;
    return Link(folders_.snapshot(repository_.commit), file);
  }

  const PullOptions& options_;
  const HubAccess& access_;
  const Folders& folders_;
  const Repository& repository_;
  PullProgress& progress_;
  std::atomic<bool> stop_{false};
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  Status status_;
};

}  // namespace

Result<PulledRepository> Pull(const PullOptions& options,
                              const HubAccess& access,
                              PullProgress& progress) {
  LONGHAND_RETURN_IF_ERROR(CheckRepositoryId(options.id));
  LONGHAND_RETURN_IF_ERROR(CheckRevision(options.revision));
  const std::atomic<bool> stop{false};
  HubHttp http(access, stop);
  Result<Repository> repository = AskHub(options, http, progress);
  if (!repository.ok()) return Explain(repository.status(), options, access);
  const Folders folders{RepositoryFolder(options.cache, options.id, options.kind),
                        RepositoryFolder(options.cache / ".locks", options.id, options.kind)};
  LONGHAND_RETURN_IF_ERROR(MakeFolders(folders, repository->commit));
  LONGHAND_RETURN_IF_ERROR(CheckDisk(folders.blobs(), repository->files));
  progress.total_bytes = repository->TotalBytes();
  progress.total_files = static_cast<int>(repository->files.size());
  const Status status = Downloads(options, access, folders, *repository, progress).Run();
  if (!status.ok()) return Explain(status, options, access);
  if (options.revision != repository->commit)
    LONGHAND_RETURN_IF_ERROR(
        WriteRef(folders.repository / "refs", options.revision, repository->commit));
  std::filesystem::path snapshot = folders.snapshot(repository->commit);
  return PulledRepository{std::move(*repository), std::move(snapshot)};
}

}  // namespace longhand::client
