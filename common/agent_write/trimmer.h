// Trimmer: a text that comes in pieces, without the white space at its ends.
#pragma once

#include <string>
#include <string_view>

namespace longhand {

class Trimmer {
 public:
  // What is certain of the text so far and was not returned before: what may be the end is kept
  // until more follows.
  std::string Add(std::string_view piece);

 private:
  bool started_ = false;
  std::string held_;
};

// The whole at once.
inline std::string Trimmed(std::string_view text) { return Trimmer().Add(text); }

}  // namespace longhand
