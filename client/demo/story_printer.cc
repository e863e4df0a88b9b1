#include "client/demo/story_printer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace longhand::client {
namespace {

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

StoryPrinter::StoryPrinter() : is_terminal_(isatty(STDOUT_FILENO) == 1) { Heading("Plan"); }

void StoryPrinter::OnPlanPiece(std::string_view text) { text_.Write(text); }

void StoryPrinter::OnPlanAgain(const Status& why) {
  text_.End();
  fmt::print("\n[{}; asking once more]\n", why.message());
  Heading("Plan");
}

void StoryPrinter::OnOutline(const std::string&, const std::vector<OutlineSection>& outline) {
  outline_ = outline;
  text_.End();
  Print("\n");
}

void StoryPrinter::OnSectionStart(size_t section) {
  section_ = section;
  Heading(outline_[section].step);
}

void StoryPrinter::OnSectionPiece(std::string_view text, int64_t) { text_.Write(text); }

void StoryPrinter::OnSectionEnd(const WrittenSection& section, bool cut_off) {
  text_.End();
  fmt::print("\n\n[section {} of {}: {} words, {} asked for{}]\n", section_ + 1, outline_.size(),
             section.num_words, outline_[section_].num_words, cut_off ? ", cut off" : "");
}

void StoryPrinter::OnEnd(const Document& document) {
  const double seconds =
      std::max(std::chrono::duration<double>(Clock::now() - start_).count(), 1e-3);
  const auto tokens = static_cast<double>(document.num_tokens);
  fmt::print("\n{} words in {} sections; {} tokens with the plan in {:.1f} s, {:.1f} tokens/s\n",
             document.num_words, document.sections.size(), document.num_tokens, seconds,
             tokens / seconds);
  std::fflush(stdout);
}

void StoryPrinter::Heading(std::string_view text) {
  Print(is_terminal_ ? "\n\033[1m" : "\n");
  text_.Write(text);
  text_.End();
  Print(is_terminal_ ? "\033[0m\n\n" : "\n\n");
}

}  // namespace longhand::client
