// WordWrapper: text that comes in pieces, broken into lines between words.
#pragma once

#include <string>
#include <string_view>

namespace longhand::client {

// A word that has begun is held back until it is clear on which line it stands. Chinese and other
// wide characters, two columns each, may begin a line of their own; a word wider than a line is
// broken where the line ends.
class WordWrapper {
 public:
  // Appends to `out` what may be shown. `text` is whole characters of UTF-8; lines are as wide as
  // `width` says now.
  void Add(std::string_view text, size_t width, std::string* out);
  // What was held back.
  void End(size_t width, std::string* out);

 private:
  void PlaceWord(size_t width, std::string* out);

  size_t column_ = 0;      // of the end of what was shown
  size_t num_spaces_ = 0;  // after it, dropped where a line ends
  std::string word_;       // held back
  size_t word_width_ = 0;
};

}  // namespace longhand::client
