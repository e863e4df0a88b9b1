// PromiseSink: what became of a request, for the thread that waits for it.
#pragma once

#include <cstdint>
#include <future>
#include <utility>
#include <vector>

#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

struct Ending {
  Status status;
  std::vector<int32_t> token_ids;
};

class PromiseSink final : public TokenSink {
 public:
  explicit PromiseSink(std::promise<Ending> promise) : promise_(std::move(promise)) {}
  void OnAccepted() override {}
  void OnEvent(TokenEvent event) override {
    ending_.token_ids.insert(ending_.token_ids.end(), event.token_ids.begin(),
                             event.token_ids.end());
  }
  void OnEnd(const Status& status) override {
    ending_.status = status;
    promise_.set_value(std::move(ending_));
  }

 private:
  std::promise<Ending> promise_;
  Ending ending_;
};

}  // namespace longhand::engine
