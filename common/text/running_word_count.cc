#include "common/text/running_word_count.h"

namespace longhand {
namespace {

// Counting has a price a call, so it waits for some text.
constexpr size_t kSettleBytes = 64;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsAscii(char c) { return (c & 0x80) == 0; }
bool IsWord(char c) { return IsLetter(c) || (c >= '0' && c <= '9') || c == '_'; }
bool BeginsCharacter(char c) { return (c & 0xc0) != 0x80; }

// Whether the text can be cut between these bytes and each part counted alone: no run of letters
// touches the cut, or what precedes it is no part of a word, as the beginning of a text is not.
bool CanCut(char before, char after) {
  if (!BeginsCharacter(after) || IsLetter(before)) return false;
  return (IsAscii(before) && !IsWord(before)) || !IsLetter(after);
}

}  // namespace

void RunningWordCount::Append(std::string_view text) {
  tail_ += text;
  if (tail_.size() < kSettleBytes) return;
  for (size_t cut = tail_.size() - 1; cut > num_looked_at_; --cut) {
    if (!CanCut(tail_[cut - 1], tail_[cut])) continue;
    num_settled_ += counter_.Count(std::string_view(tail_).substr(0, cut));
    tail_.erase(0, cut);
    num_looked_at_ = 0;
    return;
  }
  num_looked_at_ = tail_.size() - 1;
}

}  // namespace longhand
