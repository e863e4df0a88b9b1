// LiveScreen: lines on a terminal that are drawn over the ones before them.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace longhand::client {

class LiveScreen {
 public:
  explicit LiveScreen(std::FILE* terminal) : terminal_(terminal) {}

  // Cut at the terminal's width and height, so that nothing wraps or scrolls.
  void Draw(const std::vector<std::string>& lines);

 private:
  std::FILE* terminal_;
  size_t num_lines_ = 0;  // of the last drawing
};

// At most `width` columns of `text`, which is UTF-8; a character counts as one.
std::string CutToWidth(const std::string& text, size_t width);

}  // namespace longhand::client
