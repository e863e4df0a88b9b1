// What --help says, for a terminal.
#pragma once

#include <string>

namespace longhand {

// The same in lines of at most `width` columns, broken between words; a meaning goes on in the
// column of meanings.
std::string WrapHelp(const std::string& help, size_t width);

// How wide the terminal at `fd` is; 0: it is none.
size_t TerminalWidth(int fd);

}  // namespace longhand
