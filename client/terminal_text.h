// TerminalText: text to a stream as it comes; on a terminal in lines that end between words.
#pragma once

#include <cstdio>
#include <string_view>

#include "client/word_wrapper.h"

namespace longhand::client {

class TerminalText {
 public:
  explicit TerminalText(std::FILE* file);
  ~TerminalText() { End(); }
  TerminalText(const TerminalText&) = delete;
  TerminalText& operator=(const TerminalText&) = delete;

  void Write(std::string_view text);
  // Shows the last word. Before anything else is written to the stream.
  void End();

 private:
  std::FILE* const file_;
  const bool is_terminal_;
  WordWrapper wrapper_;
};

}  // namespace longhand::client
