#include "client/generate/answer_printer.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "common/duration.h"

namespace longhand::client {

AnswerPrinter::AnswerPrinter(bool json) : json_(json), figures_(isatty(STDERR_FILENO) == 1) {}

void AnswerPrinter::OnEvent(const v1::GenerateEvent& event) {
  if (!std::exchange(started_, true)) first_ = Clock::now();
  if (json_) return;
  if (event.choice() >= choices_.size()) choices_.resize(event.choice() + 1);
  Unshown& choice = choices_[event.choice()];
  choice.text += event.text();
  choice.is_over |= event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  Show(/*all=*/false);
}

void AnswerPrinter::Show(bool all) {
  while (choice_ < choices_.size()) {
    text_.Write(std::exchange(choices_[choice_].text, {}));
    const bool is_next_due = all || choices_[choice_].is_over;
    if (!is_next_due || choice_ + 1 == choices_.size()) return;
    text_.End();
    std::printf("\n--- choice %zu ---\n", ++choice_);
    std::fflush(stdout);
  }
}

void AnswerPrinter::OnFailure() {
  Show(/*all=*/true);
  text_.End();
  if (!started_ || json_) return;
  std::printf("\n");
  std::fflush(stdout);
}

void AnswerPrinter::OnEnd(const Answer& answer) {
  Show(/*all=*/true);
  text_.End();
  std::printf("%s\n", json_ ? answer.ToJson().c_str() : "");
  if (!figures_ || !started_) return;
  const double generating = Seconds(Clock::now() - first_);
  const auto tokens = static_cast<double>(answer.usage.completion_tokens());
  std::fprintf(
      stderr,
      "%lld prompt tokens, first token after %.2f s; %lld tokens in %.2f s, %.1f tokens/s; %s\n",
      static_cast<long long>(answer.usage.prompt_tokens()), Seconds(first_ - start_),
      static_cast<long long>(answer.usage.completion_tokens()), generating,
      generating > 0 ? tokens / generating : 0.0,
      answer.choices.empty() ? "" : answer.choices[0].finish_detail.c_str());
}

}  // namespace longhand::client
