#include "coordinator/input/utf8_decoder.h"

namespace longhand::input {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

void Utf8Decoder::Append(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (half_surrogate_) Finish(out);
    if (missing_ == 0) {
      Begin(byte, out);
      continue;
    }
    if (held_ == "\xED" && byte >= 0xA0 && byte <= 0xBF) {
      held_.clear();
      missing_ = 0;
      half_surrogate_ = true;
      continue;
    }
    if (byte < next_min_ || byte > next_max_) {
      Finish(out);
      Begin(byte, out);
      continue;
    }
    held_.push_back(c);
    next_min_ = 0x80;
    next_max_ = 0xBF;
    if (--missing_ == 0) {
      out += held_;
      held_.clear();
    }
  }
}

void Utf8Decoder::Finish(std::string& out) {
  if (missing_ > 0) out += kReplacement;
  if (half_surrogate_) (out += kReplacement) += kReplacement;
  held_.clear();
  missing_ = 0;
  half_surrogate_ = false;
}

// Table 3-7 of the Unicode standard: overlong forms, surrogates and what lies beyond U+10FFFF are
// excluded by the range of the second byte.
void Utf8Decoder::Begin(uint8_t lead, std::string& out) {
  if (lead < 0x80) {
    out.push_back(static_cast<char>(lead));
    return;
  }
  if (lead < 0xC2 || lead > 0xF4) {
    out += kReplacement;
    return;
  }
  held_.assign(1, static_cast<char>(lead));
  missing_ = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  next_min_ = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  next_max_ = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
}

}  // namespace longhand::input
