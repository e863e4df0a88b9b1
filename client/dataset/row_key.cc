#include "client/dataset/row_key.h"

#include "common/digest/digest.h"

namespace longhand::client {
namespace {

constexpr size_t kHashBytes = 16;

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : bytes.substr(0, kHashBytes)) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

// Sizes go in front, so that no two rows run together alike.
std::string HashOf(const DatasetRow& row, std::string_view text) {
  Digest digest;
  digest.Add(std::to_string(text.size()) + ":");
  digest.Add(text);
  for (const Picture& picture : row.pictures) {
    digest.Add(std::to_string(picture.bytes.size()) + ":");
    digest.Add(picture.bytes);
  }
  return Hex(digest.Finish());
}

}  // namespace

std::string ShortHash(std::string_view bytes) {
  Digest digest;
  digest.Add(bytes);
  return Hex(digest.Finish());
}

std::string RowKeys::KeyOf(const DatasetRow& row, std::string_view text) {
  const boost::json::value* id = row.fields.if_contains("id");
  const bool has_id = id != nullptr && !id->is_null();
  std::string key = has_id ? boost::json::serialize(*id) : HashOf(row, text);
  const int64_t count = ++seen_[key];
  return count == 1 ? key : key + "#" + std::to_string(count);
}

}  // namespace longhand::client
