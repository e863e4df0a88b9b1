// TextState: what the engine knows of an answer's text. Implemented in coordinator/input, made per
// sequence by main.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace longhand::engine {

// One per sequence; engine thread only. A function of the tokens appended, in order, and of nothing
// else.
class TextState {
 public:
  struct Delta {
    std::string text;  // whole UTF-8 characters that no stop string can take back
    std::optional<std::string> stop_string;  // set when one has matched: the answer ends before it
    bool target_reached = false;  // the words that were asked for: the answer ends with `text`
  };
  virtual ~TextState() = default;
  virtual Delta Append(int32_t token_id) = 0;
  // The text still held back when the answer ends without a stop string.
  virtual std::string Finish() = 0;
  // Of the text so far, as LongWriter-V's benchmarks count them.
  virtual int64_t num_words() const = 0;
  // Whether these are too few for an answer with its target to end of itself.
  virtual bool is_short() const = 0;
};

// Thread-safe.
class TextStateFactory {
 public:
  virtual ~TextStateFactory() = default;
  // `target_words`: of the answer; 0: none.
  virtual std::unique_ptr<TextState> Create(const std::vector<std::string>& stop_strings,
                                            int64_t target_words) const = 0;
};

}  // namespace longhand::engine
