// RunningWordCount: the words of a text that grows, without reading it again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/text/word_counter.h"

namespace longhand {

// What stands at the end is kept until it is certain what stands beside it; so long as words are
// not kilobytes long, that is some bytes.
class RunningWordCount {
 public:
  // `counter` outlives this.
  explicit RunningWordCount(const WordCounter& counter) : counter_(counter) {}

  // Whole characters.
  void Append(std::string_view text);
  // As WordCounter counts all of the text.
  int64_t num_words() const { return num_settled_ + counter_.Count(tail_); }

 private:
  const WordCounter& counter_;
  int64_t num_settled_ = 0;
  std::string tail_;
  size_t num_looked_at_ = 0;  // places in the tail that are no cut
};

}  // namespace longhand
