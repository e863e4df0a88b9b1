// DelayedSink: a sink as a journal makes it. What it is told reaches the recording later, in order;
// what has not when the coordinator dies was seen by nobody.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "tests/unit/coordinator/engine/recording_sink.h"

namespace longhand::engine {

using DelayedDeliveries = std::deque<std::function<void()>>;

class DelayedSink final : public TokenSink {
 public:
  // `deliveries` outlives this.
  DelayedSink(std::shared_ptr<Recording> recording, DelayedDeliveries& deliveries)
      : recording_(recording),
        sink_(std::make_shared<RecordingSink>(std::move(recording))),
        deliveries_(deliveries) {}

  void OnAccepted() override {
    accepted_ = true;
    deliveries_.push_back([sink = sink_] { sink->OnAccepted(); });
  }
  void OnEvent(TokenEvent event) override {
    deliveries_.push_back([sink = sink_, event = std::move(event)] { sink->OnEvent(event); });
  }
  // A refusal is not recorded and waits for nothing.
  void OnEnd(const Status& status) override {
    if (!accepted_ && !recording_->accepted) return sink_->OnEnd(status);
    deliveries_.push_back([sink = sink_, status] { sink->OnEnd(status); });
  }

 private:
  const std::shared_ptr<Recording> recording_;
  const std::shared_ptr<RecordingSink> sink_;  // shared with the deliveries
  DelayedDeliveries& deliveries_;
  bool accepted_ = false;
};

}  // namespace longhand::engine
