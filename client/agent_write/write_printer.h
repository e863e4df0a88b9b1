// WritePrinter: what `longhand write` shows while a document is made.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/agent_write/document_writer.h"
#include "client/terminal_text.h"

namespace longhand::client {

// Sections go to standard output as they come, a blank line between them, unless `shows_text` is
// false. Where standard error is a terminal, it gets the plan and the progress: one line that
// changes, or, where the text is on the same screen, a line at each section's end.
class WritePrinter final : public WriteObserver {
 public:
  WritePrinter(bool shows_text, const WordCounter& counter);

  void OnOutline(const std::string& plan, const std::vector<OutlineSection>& outline) override;
  void OnSectionStart(size_t section) override;
  void OnSectionPiece(std::string_view text, int64_t num_tokens) override;
  void OnSectionEnd(const WrittenSection& section, bool cut_off) override;
  // After the last section, or after a failure.
  void OnEnd();

 private:
  using Clock = std::chrono::steady_clock;

  // "section 2 of 5, 812 words, 340.2 tokens/s"
  std::string Progress(int64_t num_words) const;
  void ClearLine() const;

  const WordCounter& counter_;
  const bool shows_text_;
  TerminalText out_{stdout};
  const bool has_person_;  // who looks at standard error
  const bool has_line_;    // which changes
  size_t num_sections_ = 0;
  size_t section_ = 0;         // from 1, once one has begun
  bool gap_ = false;           // before the next piece of text
  std::string text_;           // of this section, for the words on the line
  int64_t num_words_ = 0;      // of the sections before
  int64_t num_tokens_ = 0;     // of all sections
  Clock::time_point start_;    // of the first section
  Clock::time_point line_at_;  // when the line last changed
};

}  // namespace longhand::client
