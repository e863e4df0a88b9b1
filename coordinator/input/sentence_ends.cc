#include "coordinator/input/sentence_ends.h"

#include <string_view>

namespace longhand::input {
namespace {

bool IsOneOf(char32_t c, std::u32string_view set) {
  return set.find(c) != std::u32string_view::npos;
}

// U+3000 is the space of Chinese and Japanese.
bool IsSpace(char32_t c) { return IsOneOf(c, U" \t\r\n\v\f\u00A0\u3000"); }
bool IsHan(char32_t c) { return c >= 0x4E00 && c <= 0x9FFF; }
bool IsFullStop(char32_t c) { return IsOneOf(c, U".!?\u2026"); }
bool IsHanFullStop(char32_t c) { return IsOneOf(c, U"\u3002\uFF01\uFF1F"); }
bool IsCloser(char32_t c) {
  return IsOneOf(c, U"\"')]}*_`\u2019\u201D\u300D\u300F\u3011\u300B\uFF09");
}

}  // namespace

TextBreak SentenceEnds::Next(char32_t c) {
  const Tail before = tail_;
  const bool is_after_stop = before == Tail::kFullStop || before == Tail::kHanFullStop;
  if (is_after_stop && (IsCloser(c) || IsFullStop(c) || IsHanFullStop(c))) {
    if (IsHanFullStop(c)) tail_ = Tail::kHanFullStop;
    return TextBreak::kNone;
  }
  tail_ = IsSpace(c)         ? Tail::kSpace
          : IsHan(c)         ? Tail::kHan
          : IsHanFullStop(c) ? Tail::kHanFullStop
          : IsFullStop(c)    ? Tail::kFullStop
                             : Tail::kWord;
  if (before == Tail::kNothing || before == Tail::kSpace) return TextBreak::kNone;
  if (is_after_stop && c == U'\n') return TextBreak::kParagraph;
  if (before == Tail::kHanFullStop || (before == Tail::kFullStop && IsSpace(c)))
    return TextBreak::kSentence;
  const bool is_apart = IsSpace(c) || IsHan(c) || (before == Tail::kHan && tail_ == Tail::kWord);
  return is_apart ? TextBreak::kWord : TextBreak::kNone;
}

}  // namespace longhand::input
