// StopMatcher: finds stop strings in text that arrives in pieces, and holds back what one may still
// take.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace longhand::input {

// The match is a function of the text alone, however it is cut into pieces: the stop string that
// ends first wins, of those that end at one place the longest. A byte costs amortised constant time
// per stop string. Any thread, one at a time.
class StopMatcher {
 public:
  // Empty stop strings never match.
  explicit StopMatcher(const std::vector<std::string>& stop_strings);

  // Appends to `out` the text that is certain to come before any stop string. Once a stop string
  // has matched, it is returned, `out` got everything before it, and all further text is dropped.
  std::optional<std::string> Append(std::string_view text, std::string& out);
  // The text ends here: what was held back is released.
  void Finish(std::string& out);

 private:
  // One stop string in the automaton of Knuth, Morris and Pratt.
  struct Pattern {
    std::string text;
    std::vector<size_t>
        fallback;  // [text.size()]: of text[0..i], the longest proper prefix that is its suffix
    size_t matched = 0;  // how much of it the text so far ends with
  };

  static bool Advance(Pattern& pattern, char c);

  std::vector<Pattern> patterns_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace longhand::input
