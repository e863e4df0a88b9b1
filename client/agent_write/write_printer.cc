#include "client/agent_write/write_printer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace longhand::client {
namespace {

constexpr std::chrono::milliseconds kLineEvery(100);

}  // namespace

WritePrinter::WritePrinter(bool shows_text, const WordCounter& counter)
    : counter_(counter),
      shows_text_(shows_text),
      has_person_(isatty(STDERR_FILENO) == 1),
      has_line_(has_person_ && !(shows_text && isatty(STDOUT_FILENO) == 1)) {
  if (has_line_) fmt::print(stderr, "planning");
}

void WritePrinter::OnOutline(const std::string& plan, const std::vector<OutlineSection>& outline) {
  ClearLine();
  if (has_person_) fmt::print(stderr, "{}\n\n", plan);
  num_sections_ = outline.size();
  start_ = Clock::now();
}

void WritePrinter::OnSectionStart(size_t section) {
  section_ = section + 1;
  gap_ = section > 0;
  text_.clear();
}

void WritePrinter::OnSectionPiece(std::string_view text, int64_t num_tokens) {
  num_tokens_ += num_tokens;
  if (shows_text_ && !text.empty()) {
    if (std::exchange(gap_, false)) std::fputs("\n\n", stdout);
    out_.Write(text);
  }
  if (!has_line_) return;
  text_ += text;
  if (Clock::now() - line_at_ < kLineEvery) return;
  line_at_ = Clock::now();
  ClearLine();
  fmt::print(stderr, "{}", Progress(num_words_ + counter_.Count(text_)));
}

void WritePrinter::OnSectionEnd(const WrittenSection& section, bool cut_off) {
  num_words_ += section.num_words;
  out_.End();
  ClearLine();
  if (has_person_ && !has_line_) {
    fmt::print(stderr, "\n[{}{}]", Progress(num_words_), cut_off ? ", cut off" : "");
  } else if (cut_off) {
    fmt::print(stderr, "longhand write: section {} was cut off after {} words\n", section_,
               section.num_words);
  }
}

void WritePrinter::OnEnd() {
  out_.End();
  ClearLine();
  if (section_ == 0) return;
  if (shows_text_) fmt::print("\n");
  std::fflush(stdout);
  if (has_line_) fmt::print(stderr, "{}\n", Progress(num_words_));
}

std::string WritePrinter::Progress(int64_t num_words) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return fmt::format("section {} of {}, {} words, {:.1f} tokens/s", section_, num_sections_,
                     num_words, static_cast<double>(num_tokens_) / std::max(seconds, 1e-3));
}

void WritePrinter::ClearLine() const {
  if (has_line_) std::fputs("\r\033[K", stderr);
}

}  // namespace longhand::client
