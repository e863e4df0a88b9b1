#include "common/text/word_counter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "common/check.h"

namespace longhand {
namespace {

// Python's \w is [\p{L}\p{N}_]. It is spelt out because PCRE2's own \w takes in marks and
// connectors from 10.43 on. A run of letters is taken whole (++): fewer would be followed by one.
constexpr char kWord[] = R"([\x{4E00}-\x{9FFF}]|(?<![\p{L}\p{N}_])[a-zA-Z]++(?![\p{L}\p{N}_]))";

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

}  // namespace

struct WordCounter::Pattern {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, pcre2_code_free};

  int Match(std::string_view text, size_t at, uint32_t options, pcre2_match_data* match) const {
    return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                       options, match, nullptr);
  }

  // Bytes before the first that is not UTF-8. A search checks all of its text first.
  size_t ValidPrefix(std::string_view text, pcre2_match_data* match) const {
    const int found = Match(text, 0, 0, match);
    if (found > 0 || found == PCRE2_ERROR_NOMATCH) return text.size();
    LONGHAND_CHECK(found <= PCRE2_ERROR_UTF8_ERR1 && found >= PCRE2_ERROR_UTF8_ERR21) << found;
    return pcre2_get_startchar(match);
  }

  // A match is never empty, so the next search starts where it ended. Checking anew each time would
  // make long texts quadratic.
  int64_t CountValid(std::string_view text, pcre2_match_data* match) const {
    int64_t count = 0;
    for (size_t at = 0;; at = pcre2_get_ovector_pointer(match)[1], ++count) {
      const int found = Match(text, at, PCRE2_NO_UTF_CHECK, match);
      if (found == PCRE2_ERROR_NOMATCH) return count;
      LONGHAND_CHECK(found > 0) << "pcre2_match: " << found;
    }
  }
};

WordCounter::WordCounter()
    : pattern_([] {
        int error = 0;
        PCRE2_SIZE offset = 0;
        auto pattern = std::make_unique<Pattern>();
        pattern->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kWord),
                                          PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &offset,
                                          nullptr));
        LONGHAND_CHECK(pattern->code != nullptr) << error << " at " << offset;
        // Over ten times as fast. Where no memory may be made executable, matches are interpreted.
        (void)pcre2_jit_compile(pattern->code.get(), PCRE2_JIT_COMPLETE);
        return pattern;
      }()) {}

WordCounter::~WordCounter() = default;

int64_t WordCounter::Count(std::string_view text) const {
  const MatchData match(pcre2_match_data_create_from_pattern(pattern_->code.get(), nullptr),
                        pcre2_match_data_free);
  LONGHAND_CHECK(match != nullptr) << "out of memory";
  int64_t count = 0;
  while (!text.empty()) {
    const size_t valid = pattern_->ValidPrefix(text, match.get());
    count += pattern_->CountValid(text.substr(0, valid), match.get());
    text.remove_prefix(std::min(valid + 1, text.size()));
  }
  return count;
}

}  // namespace longhand
