#include "client/pull/repository.h"

#include <algorithm>
#include <boost/json.hpp>

namespace longhand::client {
namespace {

namespace json = boost::json;

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool IsHex(std::string_view text, size_t size) {
  return text.size() == size &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string StringOf(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

int64_t SizeOf(const json::object& object) {
  const json::value* value = object.if_contains("size");
  return value != nullptr && value->is_int64() ? value->get_int64() : -1;
}

Result<RepositoryFile> ParseFile(const std::string& name, const json::object& entry) {
  const json::value* lfs = entry.if_contains("lfs");
  RepositoryFile file{.name = name, .size = SizeOf(entry), .digest = StringOf(entry, "blobId")};
  if (lfs != nullptr && lfs->is_object()) {
    file.size = SizeOf(lfs->get_object());
    file.digest = StringOf(lfs->get_object(), "sha256");
    file.digest_kind = DigestKind::kSha256;
  }
  if (file.digest.empty()) return file;
  if (file.size < 0 || !IsHex(file.digest, file.digest_kind == DigestKind::kSha256 ? 64 : 40))
    return Internal("the hub gives no size or no digest of ", name);
  return file;
}

}  // namespace

Status RepositoryFile::SetFacts(int64_t file_size, const std::string& etag) {
  size = file_size;
  digest = etag;
  digest_kind = etag.size() == 64 ? DigestKind::kSha256 : DigestKind::kGitSha1;
  if (size >= 0 && (IsHex(etag, 64) || IsHex(etag, 40))) return OkStatus();
  return Internal("the hub gives no size or no digest of ", name);
}

int64_t Repository::TotalBytes() const {
  int64_t bytes = 0;
  for (const RepositoryFile& file : files) bytes += file.size;
  return bytes;
}

void Repository::Sort() {
  std::stable_sort(
      files.begin(), files.end(),
      [](const RepositoryFile& a, const RepositoryFile& b) { return a.size > b.size; });
}

bool IsNeeded(std::string_view name, RepositoryKind kind) {
  constexpr std::string_view kData = "data/";
  const bool is_dataset = kind == RepositoryKind::kDataset;
  if (is_dataset && name.substr(0, kData.size()) == kData) name.remove_prefix(kData.size());
  // Folders hold other forms of the model, or the training's state.
  const bool is_plain = !name.empty() && name.front() != '.' && name.size() <= 255 &&
                        name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
  if (is_dataset) return is_plain && EndsWith(name, ".parquet");
  return is_plain &&
         (EndsWith(name, ".safetensors") || EndsWith(name, ".json") || EndsWith(name, ".jinja") ||
          name == "tokenizer.model" || name == "merges.txt" || name == "vocab.txt");
}

Result<Repository> ParseRepository(const std::string& id,
                                   std::string_view text,
                                   RepositoryKind kind) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  const json::object* answer = error ? nullptr : value.if_object();
  const json::value* siblings = answer == nullptr ? nullptr : answer->if_contains("siblings");
  if (siblings == nullptr || !siblings->is_array())
    return Internal("the hub's answer about ", id, " is not a list of files");
  Repository repository;
  repository.commit = StringOf(*answer, "sha");
  if (!IsHex(repository.commit, 40))
    return Internal("the hub's answer about ", id, " has no commit");
  bool has_weights = false;
  bool has_pickles = false;
  for (const json::value& entry : siblings->get_array()) {
    if (!entry.is_object()) continue;
    const std::string name = StringOf(entry.get_object(), "rfilename");
    has_pickles |= EndsWith(name, ".bin") || EndsWith(name, ".pt") || EndsWith(name, ".pth");
    if (!IsNeeded(name, kind)) continue;
    has_weights |= EndsWith(name, ".safetensors");
    LONGHAND_ASSIGN_OR_RETURN(RepositoryFile file, ParseFile(name, entry.get_object()));
    repository.files.push_back(std::move(file));
  }
  if (kind == RepositoryKind::kDataset) {
    if (repository.files.empty())
      return FailedPrecondition(id, " has no *.parquet, in its root or in data/");
  } else if (!has_weights) {
    return FailedPrecondition(id, " has no weights as safetensors",
                              has_pickles ? ", only as pickles, which are never loaded" : "",
                              "; a checkpoint needs *.safetensors");
  }
  repository.Sort();
  return repository;
}

}  // namespace longhand::client
