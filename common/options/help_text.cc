#include "common/options/help_text.h"

#include <sys/ioctl.h>

#include <algorithm>

namespace longhand {
namespace {

constexpr size_t kMeanings = 30;  // the column where CLI11 begins them
constexpr size_t kLeastWidth = 60;

void AppendWrapped(std::string line, size_t width, std::string* out) {
  const std::string indent(line.starts_with("  ") ? kMeanings : 0, ' ');
  size_t begin = std::min(line.find_first_not_of(' '), line.size());
  while (line.size() > width) {
    const size_t space = line.rfind(' ', width);
    if (space == std::string::npos || space <= begin) break;
    out->append(line, 0, line.find_last_not_of(' ', space) + 1).push_back('\n');
    line = indent + line.substr(space + 1);
    begin = indent.size();
  }
  out->append(line).push_back('\n');
}

}  // namespace

std::string WrapHelp(const std::string& help, size_t width) {
  std::string out;
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = std::min(help.find('\n', begin), help.size());
    AppendWrapped(help.substr(begin, end - begin), std::max(width, kLeastWidth), &out);
    begin = end + 1;
  }
  return out;
}

size_t TerminalWidth(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace longhand
