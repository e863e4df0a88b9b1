// AnswerPrinter: the text goes to stdout as it comes, of several answers one after the other; the
// figures to stderr when somebody looks.
#pragma once

#include <chrono>
#include <string>
#include <vector>

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
  struct Unshown {
    std::string text;
    bool is_over = false;
  };

  // The answer that is being shown, and those after it once it is over, or `all`.
  void Show(bool all);

  const bool json_;
  const bool figures_;
  TerminalText text_{stdout};
  const Clock::time_point start_ = Clock::now();
  bool started_ = false;
  Clock::time_point first_;  // event, once started
  std::vector<Unshown> choices_;
  size_t choice_ = 0;  // that is being shown
};

}  // namespace longhand::client
