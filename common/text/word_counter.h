// WordCounter: words as LongWriter-V's benchmarks count them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace longhand {

// Characters U+4E00..U+9FFF, each one word, plus the matches of Python's \b[a-zA-Z]+\b: runs of
// ASCII letters with no letter, digit or underscore of any script beside them. So "don't stop" has
// 3 words, "GPT4 wins" and "使用GPU" have 1 and 2, "naïve" has none.
//
// Bytes that are not UTF-8 count nothing and bound what stands beside them. Const calls are safe
// from any thread.
class WordCounter {
 public:
  WordCounter();
  ~WordCounter();
  WordCounter(const WordCounter&) = delete;
  WordCounter& operator=(const WordCounter&) = delete;

  int64_t Count(std::string_view text) const;

 private:
  struct Pattern;
  const std::unique_ptr<const Pattern> pattern_;
};

}  // namespace longhand
