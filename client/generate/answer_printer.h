// AnswerPrinter: the text goes to stdout as it comes, the figures to stderr when somebody looks.
#pragma once

#include <chrono>
#include <cstdint>

#include "client/generate/answer.h"
#include "client/terminal_text.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::client {

class AnswerPrinter {
 public:
  // With `json` nothing is shown before the end, which is then one object.
  explicit AnswerPrinter(bool json);

  void OnEvent(const v1::GenerateEvent& event);
  void OnEnd(const Answer& answer);
  // Ends the text where it stands. Before an error is said.
  void OnFailure();

 private:
  using Clock = std::chrono::steady_clock;

  const bool json_;
  const bool figures_;
  TerminalText text_{stdout};
  const Clock::time_point start_ = Clock::now();
  bool started_ = false;
  Clock::time_point first_;  // event, once started
  uint32_t choice_ = 0;
};

}  // namespace longhand::client
