#include "coordinator/input/length_governor.h"

#include <algorithm>

namespace longhand::input {
namespace {

// Words that are at least so many percent of the target.
int64_t Share(int64_t target_words, int64_t percent) { return (target_words * percent + 99) / 100; }

// The character at the beginning of `text`, which holds whole ones, and how many bytes it has.
char32_t FirstCharacter(std::string_view text, size_t* size) {
  const auto lead = static_cast<unsigned char>(text[0]);
  *size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  *size = std::min(*size, text.size());
  char32_t c = *size == 1 ? lead : lead & (0x7F >> *size);
  for (size_t i = 1; i < *size; ++i) c = c << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
  return c;
}

}  // namespace

LengthGovernor::LengthGovernor(int64_t target_words)
    : least_(Share(target_words, 95)),
      paragraph_(Share(target_words, 97)),
      sentence_(Share(target_words, 99)),
      word_(Share(target_words, 105)) {}

std::optional<size_t> LengthGovernor::Append(std::string_view text, RunningWordCount* words) {
  size_t counted = 0;
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    const TextBreak place = ends_.Next(FirstCharacter(text.substr(at), &size));
    if (place == TextBreak::kNone) continue;
    const int64_t enough = place == TextBreak::kParagraph  ? paragraph_
                           : place == TextBreak::kSentence ? sentence_
                                                           : word_;
    words->Append(text.substr(counted, at - counted));
    counted = at;
    if (words->num_words() >= enough) return at;
  }
  words->Append(text.substr(counted));
  return std::nullopt;
}

}  // namespace longhand::input
