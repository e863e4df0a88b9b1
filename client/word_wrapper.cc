#include "client/word_wrapper.h"

#include <algorithm>
#include <cstdint>

namespace longhand::client {
namespace {

struct Character {
  std::string_view bytes;
  uint32_t code = 0;
};

// The character at the beginning of `text`, which is not empty. A byte that begins none stands for
// itself.
Character FirstOf(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t size = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  Character character{text.substr(0, std::min(size, text.size())), first};
  if (size > 1) character.code = first & (0xffu >> (size + 1));
  for (const char byte : character.bytes.substr(1))
    character.code = character.code << 6 | (static_cast<unsigned char>(byte) & 0x3fu);
  return character;
}

// Scripts of East Asia, their punctuation, and emoji (Unicode's East_Asian_Width W and F, in large
// pieces).
bool IsWide(uint32_t code) {
  constexpr struct {
    uint32_t first, last;
  } kWide[] = {{0x1100, 0x115f},   {0x2e80, 0xa4cf},  {0xac00, 0xd7a3}, {0xf900, 0xfaff},
               {0xfe30, 0xfe6f},   {0xff00, 0xff60},  {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
               {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
  return std::any_of(std::begin(kWide), std::end(kWide), [code](const auto& range) {
    return code >= range.first && code <= range.last;
  });
}

}  // namespace

void WordWrapper::Add(std::string_view text, size_t width, std::string* out) {
  while (!text.empty()) {
    const Character next = FirstOf(text);
    text.remove_prefix(next.bytes.size());
    if (next.code == '\n' || next.code == ' ') {
      PlaceWord(width, out);
      if (next.code == ' ') {
        ++num_spaces_;
        continue;
      }
      *out += '\n';
      column_ = num_spaces_ = 0;
      continue;
    }
    const bool is_wide = IsWide(next.code);
    // Wide characters are words of their own.
    if (is_wide || word_width_ + 1 > width) PlaceWord(width, out);
    word_ += next.bytes;
    word_width_ += is_wide ? 2 : 1;
    if (is_wide) PlaceWord(width, out);
  }
}

void WordWrapper::End(size_t width, std::string* out) {
  PlaceWord(width, out);
  out->append(num_spaces_, ' ');
  column_ = num_spaces_ = 0;
}

void WordWrapper::PlaceWord(size_t width, std::string* out) {
  if (word_.empty()) return;
  if (column_ > 0 && column_ + num_spaces_ + word_width_ > width) {
    *out += '\n';
    column_ = num_spaces_ = 0;
  }
  out->append(num_spaces_, ' ').append(word_);
  column_ += num_spaces_ + word_width_;
  num_spaces_ = word_width_ = 0;
  word_.clear();
}

}  // namespace longhand::client
