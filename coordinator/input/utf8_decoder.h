// Utf8Decoder: bytes that arrive in any pieces become whole UTF-8 characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longhand::input {

// Each maximal malformed part becomes one U+FFFD, as soon as it is known to be malformed (Unicode
// chapter 3, "U+FFFD Substitution of Maximal Subparts"; what Python's incremental decoder does).
// Any thread, one at a time.
class Utf8Decoder {
 public:
  // Appends to `out` the characters that `bytes` complete. An unfinished one is held back: at most
  // 3 bytes.
  void Append(std::string_view bytes, std::string& out);
  // The bytes end here: what is held back becomes U+FFFD.
  void Finish(std::string& out);

 private:
  void Begin(uint8_t lead, std::string& out);

  std::string held_;             // the beginning of a character
  int missing_ = 0;              // how many more bytes it needs
  bool half_surrogate_ = false;  // ED and A0..BF came last: two malformed parts
  // What the next byte may be; only a second byte is limited further than 80..BF.
  uint8_t next_min_ = 0x80;
  uint8_t next_max_ = 0xBF;
};

}  // namespace longhand::input
