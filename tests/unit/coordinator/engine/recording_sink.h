// RecordingSink: keeps what a request was told, and checks the order of events.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/engine/delivered.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/token_sink.h"
#include "tests/unit/coordinator/engine/expected_answer.h"

namespace longhand::engine {

struct Recording {
  std::vector<TokenEvent> events;
  std::map<uint32_t, AnswerText> answers;  // by choice, joined from events
  std::optional<Status> end;
  std::optional<Usage> usage;
  bool accepted = false;
  bool destroyed = false;
};

// What a journal makes of it.
inline Delivered DeliveredOf(const Request& request, const Recording& recording) {
  Delivered delivered{.token_ids = std::vector<std::vector<int32_t>>(request.num_choices),
                      .last_event_seq = static_cast<int64_t>(recording.events.size()),
                      .has_ended = std::vector<bool>(request.num_choices)};
  for (const TokenEvent& event : recording.events) {
    std::vector<int32_t>& ids = delivered.token_ids.at(event.choice);
    ids.insert(ids.end(), event.token_ids.begin(), event.token_ids.end());
    delivered.num_prompt_logprobs += std::ssize(event.prompt_logprobs);
    if (event.finish_reason.has_value()) delivered.has_ended.at(event.choice) = true;
  }
  return delivered;
}

class RecordingSink final : public TokenSink {
 public:
  // The recording is shared: the test reads it after the engine has destroyed the sink.
  explicit RecordingSink(std::shared_ptr<Recording> recording) : recording_(std::move(recording)) {}
  ~RecordingSink() override { recording_->destroyed = true; }

  void OnAccepted() override {
    EXPECT_FALSE(recording_->accepted || recording_->end.has_value());
    recording_->accepted = true;
  }

  void OnEvent(TokenEvent event) override {
    EXPECT_TRUE(recording_->accepted);
    EXPECT_FALSE(recording_->end.has_value()) << "an event after the end";
    EXPECT_FALSE(recording_->usage.has_value()) << "usage was not in the last event";
    EXPECT_EQ(event.seq, static_cast<int64_t>(recording_->events.size()) + 1);
    AnswerText& answer = recording_->answers[event.choice];
    EXPECT_EQ(answer.finish_detail, "") << "an event of a finished choice";
    answer.token_ids.insert(answer.token_ids.end(), event.token_ids.begin(), event.token_ids.end());
    answer.text += event.text;
    answer.finish_detail = event.finish_detail;
    if (!event.prompt_logprobs.empty()) {
      EXPECT_TRUE(event.token_ids.empty() && answer.token_ids.empty());
    }
    for (const SampledToken& token : event.prompt_logprobs) {
      answer.prompt_logprobs.push_back(token.logprob);
      for (const TokenLogprob& top : token.top) answer.prompt_top.push_back(top.logprob);
    }
    recording_->usage = event.usage;
    recording_->events.push_back(std::move(event));
  }

  void OnEnd(const Status& status) override {
    EXPECT_FALSE(recording_->end.has_value()) << "a second end";
    recording_->end = status;
  }

 private:
  const std::shared_ptr<Recording> recording_;
};

}  // namespace longhand::engine
