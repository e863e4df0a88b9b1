// LengthGovernor: holds an answer to the words that were asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/text/running_word_count.h"
#include "coordinator/input/sentence_ends.h"

namespace longhand::input {

// A function of the text alone, however it is cut into pieces. Engine thread.
class LengthGovernor {
 public:
  // `target_words`: at least 1.
  explicit LengthGovernor(int64_t target_words);

  // Appends `text` to `words` (whose text it has seen from the beginning), up to where the answer
  // ends if it does: from 97% of the target on at the end of a paragraph, from 99% on at the end of
  // a sentence, from 105% on between two words. Then that place in `text` is returned.
  std::optional<size_t> Append(std::string_view text, RunningWordCount* words);
  // Whether so many words are too few for the answer to end of itself: less than 95%.
  bool IsShort(int64_t num_words) const { return num_words < least_; }

 private:
  const int64_t least_;      // words at the end of an answer
  const int64_t paragraph_;  // and from where on it ends there
  const int64_t sentence_;
  const int64_t word_;
  SentenceEnds ends_;
};

}  // namespace longhand::input
