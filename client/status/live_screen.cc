#include "client/status/live_screen.h"

#include <sys/ioctl.h>

#include <algorithm>

namespace longhand::client {

std::string CutToWidth(const std::string& text, size_t width) {
  size_t columns = 0;
  size_t end = 0;
  for (; end < text.size(); ++end) {
    const bool continues = (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80;
    if (!continues && columns++ == width) break;
  }
  return text.substr(0, end);
}

void LiveScreen::Draw(const std::vector<std::string>& lines) {
  winsize size{};
  const bool is_known =
      ioctl(fileno(terminal_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1;
  const size_t width = is_known ? size.ws_col : 80;
  const size_t height = is_known ? size.ws_row - 1u : 23;
  std::string out;
  if (num_lines_ > 0) out += "\033[" + std::to_string(num_lines_) + "F";
  num_lines_ = std::min(lines.size(), height);
  for (size_t i = 0; i < num_lines_; ++i) out += CutToWidth(lines[i], width) + "\033[K\n";
  out += "\033[J";
  std::fwrite(out.data(), 1, out.size(), terminal_);
  std::fflush(terminal_);
}

}  // namespace longhand::client
