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
  if (event.choice() != choice_) {
    choice_ = event.choice();
    text_.End();
    std::printf("\n--- choice %u ---\n", choice_);
    std::fflush(stdout);
  }
  text_.Write(event.text());
}

void AnswerPrinter::OnFailure() {
  text_.End();
  if (!started_ || json_) return;
  std::printf("\n");
  std::fflush(stdout);
}

void AnswerPrinter::OnEnd(const Answer& answer) {
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
