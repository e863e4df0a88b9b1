#include "client/terminal_text.h"

#include <unistd.h>

#include <string>

#include "common/options/help_text.h"

namespace longhand::client {
namespace {

// Now: windows change.
size_t WidthOf(std::FILE* terminal) {
  const size_t width = TerminalWidth(fileno(terminal));
  return width > 1 ? width : 80;
}

void WriteNow(std::string_view text, std::FILE* file) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

TerminalText::TerminalText(std::FILE* file)
    : file_(file), is_terminal_(isatty(fileno(file)) == 1) {}

void TerminalText::Write(std::string_view text) {
  if (!is_terminal_) return WriteNow(text, file_);
  std::string out;
  wrapper_.Add(text, WidthOf(file_), &out);
  WriteNow(out, file_);
}

void TerminalText::End() {
  if (!is_terminal_) return;
  std::string out;
  wrapper_.End(WidthOf(file_), &out);
  WriteNow(out, file_);
}

}  // namespace longhand::client
