#include "common/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

namespace longhand {
namespace {

namespace fs = std::filesystem;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path Expand(const std::string& path) {
  const bool of_home = path == "~" || path.rfind("~/", 0) == 0;
  return of_home ? fs::path(Environment("HOME") + path.substr(1)) : fs::path(path);
}

bool IsNamePart(std::string_view part) {
  const auto is_allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  const auto is_edge = [](char c) { return c == '-' || c == '.'; };
  return !part.empty() && std::all_of(part.begin(), part.end(), is_allowed) &&
         !is_edge(part.front()) && !is_edge(part.back()) &&
         part.find("--") == std::string_view::npos && part.find("..") == std::string_view::npos;
}

bool IsCommit(std::string_view revision) {
  return revision.size() == 40 &&
         revision.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The commit that refs/ has for a revision, or the revision itself.
std::string CommitOf(const fs::path& repository, const std::string& revision) {
  std::ifstream file(repository / "refs" / revision);
  std::string commit;
  return file && file >> commit && IsCommit(commit) ? commit : revision;
}

}  // namespace

fs::path HubHome() {
  if (const std::string home = Environment("HF_HOME"); !home.empty()) return Expand(home);
  const std::string cache = Environment("XDG_CACHE_HOME");
  return (cache.empty() ? Expand("~/.cache") : Expand(cache)) / "huggingface";
}

fs::path HubCache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string cache = Environment(name); !cache.empty()) return Expand(cache);
  return HubHome() / "hub";
}

Status CheckRepositoryId(std::string_view id) {
  const size_t slash = id.find('/');
  const bool is_valid = id.size() <= 96 &&
                        (slash == std::string_view::npos
                             ? IsNamePart(id)
                             : IsNamePart(id.substr(0, slash)) && IsNamePart(id.substr(slash + 1)));
  if (is_valid) return OkStatus();
  return InvalidArgument(
      "'", id.substr(0, 100),
      "' is not a repository; it must be org/name, of at most 96 letters, digits, "
      "'-', '_' and '.'");
}

Status CheckRevision(std::string_view revision) {
  const bool is_plain = !revision.empty() && revision.size() <= 255 && revision.front() != '/' &&
                        revision.back() != '/' && revision.find("..") == std::string_view::npos &&
                        revision.find("//") == std::string_view::npos &&
                        std::all_of(revision.begin(), revision.end(), [](unsigned char c) {
                          return c > ' ' && c < 0x7f && c != '\\';
                        });
  if (is_plain) return OkStatus();
  return InvalidArgument("'", revision.substr(0, 100),
                         "' is not a revision; it must be a branch, a tag or a commit");
}

fs::path RepositoryFolder(const fs::path& cache, std::string_view id, RepositoryKind kind) {
  std::string folder = kind == RepositoryKind::kModel ? "models--" : "datasets--";
  folder += id;
  if (const size_t slash = folder.find('/'); slash != std::string::npos)
    folder.replace(slash, 1, "--");
  return cache / folder;
}

Result<fs::path> FindSnapshot(const fs::path& cache,
                              const std::string& id,
                              const std::string& revision) {
  LONGHAND_RETURN_IF_ERROR(CheckRepositoryId(id));
  LONGHAND_RETURN_IF_ERROR(CheckRevision(revision));
  const fs::path repository = RepositoryFolder(cache, id);
  const fs::path snapshot = repository / "snapshots" / CommitOf(repository, revision);
  std::error_code ignored;
  if (fs::is_regular_file(snapshot / "config.json", ignored)) return snapshot;
  const std::string flag = revision == "main" ? "" : " --revision " + revision;
  return NotFound(id, " at revision ", revision, " is not in ", cache.string(), "; `longhand pull ",
                  id, flag, "` gets it");
}

Result<fs::path> FindDataset(const fs::path& cache,
                             const std::string& id,
                             const std::string& revision) {
  LONGHAND_RETURN_IF_ERROR(CheckRepositoryId(id));
  LONGHAND_RETURN_IF_ERROR(CheckRevision(revision));
  const fs::path repository = RepositoryFolder(cache, id, RepositoryKind::kDataset);
  // The name is there once all files are.
  const std::string commit = CommitOf(repository, revision);
  const fs::path snapshot = repository / "snapshots" / commit;
  std::error_code ignored;
  if (commit != revision && fs::is_directory(snapshot, ignored)) return snapshot;
  return NotFound("the data set ", id, " at revision ", revision, " is not in ", cache.string());
}

Result<LocatedModel> LocateModel(const std::string& model, const std::string& revision) {
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) {
    const fs::path path(model);
    return LocatedModel{path, (path.has_filename() ? path : path.parent_path()).filename()};
  }
  const bool may_be_id = std::count(model.begin(), model.end(), '/') == 1;
  if (!may_be_id || !CheckRepositoryId(model).ok()) {
    return NotFound("there is no checkpoint directory ", model,
                    "; it must be a directory, or org/name as `longhand pull` takes it");
  }
  LONGHAND_ASSIGN_OR_RETURN(fs::path snapshot, FindSnapshot(HubCache(), model, revision));
  return LocatedModel{std::move(snapshot), model};
}

}  // namespace longhand
