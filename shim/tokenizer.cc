#include "shim/tokenizer.h"

namespace longhand::shim {
namespace {

// The largest published tokenizer.json is 11 MB; 512 MiB refuses only what is something else.
constexpr uint64_t kMaxFileBytes = uint64_t{512} << 20;

std::vector<int32_t> TakeIds(longhand_shim_ids ids) {
  std::vector<int32_t> result(ids.data, ids.data + ids.size);
  longhand_shim_free_ids(ids);
  return result;
}

}  // namespace

Tokenizer::Tokenizer(Handle handle)
    : handle_(std::move(handle)), table_(longhand_shim_tokenizer_table(handle_.get())) {
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const std::string_view bytes = TokenBytes(id);
    if ((table_.flags[id] & LONGHAND_SHIM_ADDED) == 0 || bytes.empty()) continue;
    if (control_token_beginnings_.find(bytes[0]) == std::string::npos) {
      control_token_beginnings_.push_back(bytes[0]);
    }
  }
}

Result<Tokenizer> Tokenizer::Load(const std::filesystem::path& directory) {
  LONGHAND_ASSIGN_OR_RETURN(const std::string tokenizer_json,
                            ReadFile(directory / "tokenizer.json", kMaxFileBytes));
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<std::string> config_json,
                            ReadFileIfPresent(directory / "tokenizer_config.json", kMaxFileBytes));
  longhand_shim_tokenizer* handle = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_tokenizer_new(Borrow(tokenizer_json), BorrowOptional(config_json),
                                               &handle, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error).WithContext(directory.string()));
  return Tokenizer(Handle(handle));
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                               ControlTokens control_tokens) const {
  const auto encode = control_tokens == ControlTokens::kParse
                          ? longhand_shim_tokenizer_encode
                          : longhand_shim_tokenizer_encode_plain;
  longhand_shim_ids ids{};
  longhand_shim_bytes error{};
  const int code = encode(handle_.get(), Borrow(text), &ids, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  return TakeIds(ids);
}

Result<std::vector<int32_t>> Tokenizer::EncodeAround(std::string_view text,
                                                     std::span<const ByteRange> literal) const {
  std::vector<longhand_shim_range> ranges;
  ranges.reserve(literal.size());
  for (const ByteRange& range : literal) ranges.push_back({range.begin, range.end});
  longhand_shim_ids ids{};
  longhand_shim_bytes error{};
  const int code = longhand_shim_tokenizer_encode_around(handle_.get(), Borrow(text), ranges.data(),
                                                         ranges.size(), &ids, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  return TakeIds(ids);
}

bool Tokenizer::MayBeginControlToken(std::string_view text) const {
  return text.find_first_of(control_token_beginnings_) != std::string_view::npos;
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  const uint32_t begin = table_.offsets[id];
  return {reinterpret_cast<const char*>(table_.bytes) + begin, table_.offsets[id + 1] - begin};
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && (table_.flags[id] & LONGHAND_SHIM_SPECIAL) != 0;
}

std::optional<int32_t> Tokenizer::IdOf(std::string_view token) const {
  uint32_t id = 0;
  if (longhand_shim_tokenizer_id_of(handle_.get(), Borrow(token), &id) == 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

}  // namespace longhand::shim
