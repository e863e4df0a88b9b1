#include "coordinator/api/checkpoint_digest.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <vector>

#include "common/digest/digest.h"

namespace longhand::api {
namespace {

constexpr uintmax_t kPieceBytes = 4096;
constexpr uintmax_t kNumPieces = 256;  // of a file of weights
// JSON files are read whole up to here, by pieces beyond.
constexpr uintmax_t kWholeBytes = uintmax_t{64} << 20;

// Ends with a zero, so that what follows cannot run into it.
void AddText(const std::string& text, Digest* digest) {
  digest->Add({text.c_str(), text.size() + 1});
}

Status AddFile(const std::filesystem::path& path, uintmax_t whole_bytes, Digest* digest) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return Unavailable(path.string(), " cannot be read");
  AddText(path.filename().string(), digest);
  AddText(std::to_string(size), digest);
  const bool is_whole = size <= std::max(whole_bytes, kPieceBytes * kNumPieces);
  const uintmax_t num_pieces = is_whole ? (size + kPieceBytes - 1) / kPieceBytes : kNumPieces;
  std::vector<char> piece(kPieceBytes);
  for (uintmax_t i = 0; i < num_pieces; ++i) {
    const uintmax_t at = is_whole ? i * kPieceBytes : (size - kPieceBytes) / (kNumPieces - 1) * i;
    const uintmax_t bytes = std::min(kPieceBytes, size - at);
    file.seekg(static_cast<std::streamoff>(at));
    if (!file.read(piece.data(), static_cast<std::streamsize>(bytes)))
      return Unavailable(path.string(), " cannot be read at byte ", at);
    digest->Add({piece.data(), bytes});
  }
  return OkStatus();
}

}  // namespace

Result<std::string> CheckpointDigest(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string kind = it->path().extension().string();
    if (kind == ".json" || kind == ".safetensors" || kind == ".jinja" || kind == ".txt")
      files.push_back(it->path());
  }
  if (error) return Unavailable(directory.string(), " cannot be read: ", error.message());
  std::sort(files.begin(), files.end());
  Digest digest;
  for (const std::filesystem::path& file : files) {
    const bool is_weights = file.extension() == ".safetensors";
    LONGHAND_RETURN_IF_ERROR(AddFile(file, is_weights ? 0 : kWholeBytes, &digest));
  }
  return digest.Finish();
}

}  // namespace longhand::api
