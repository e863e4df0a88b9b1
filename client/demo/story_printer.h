// StoryPrinter: a document as a story on standard output, for somebody who watches it grow.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "client/agent_write/document_writer.h"
#include "client/terminal_text.h"

namespace longhand::client {

// The plan as it comes; every section under its heading, with its words counted after it; figures
// at the end. On a terminal headings are bold and
// lines end between words.
class StoryPrinter final : public WriteObserver {
 public:
  StoryPrinter();

  void OnPlanPiece(std::string_view text) override;
  void OnPlanAgain(const Status& why) override;
  void OnOutline(const std::string& plan, const std::vector<OutlineSection>& outline) override;
  void OnSectionStart(size_t section) override;
  void OnSectionPiece(std::string_view text, int64_t num_tokens) override;
  void OnSectionEnd(const WrittenSection& section, bool cut_off) override;
  void OnEnd(const Document& document);
  // Shows the text to its end. Before an error is said.
  void OnFailure() { text_.End(); }

 private:
  using Clock = std::chrono::steady_clock;

  void Heading(std::string_view text);

  const bool is_terminal_;
  TerminalText text_{stdout};
  const Clock::time_point start_ = Clock::now();
  std::vector<OutlineSection> outline_;
  size_t section_ = 0;
};

}  // namespace longhand::client
