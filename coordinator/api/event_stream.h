// EventStream: the events of one request that may be seen, in their order, and who follows them.
//
// One producer publishes (the engine, or the journal once an event is on disk); any number of
// readers look, each at its own place. Events never change and live as long as the stream: at most
// n * max(max_tokens, 1) of them and those of prompt_logprobs, of a document as many for each
// section and four more.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "longhand/journal/v1/record.pb.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// All methods may be called from any thread.
class EventStream {
 public:
  class Reader {
   public:
    virtual ~Reader() = default;
    // There is more to see. Any thread, the stream's mutex not held; must not block.
    virtual void OnMore() = 0;
  };
  struct Identity {
    std::string request_id;
    std::string sent_digest;  // of the request as its client sent it
    journal::v1::AnswerForm form;
    std::string owner;  // the API key's name: nobody else finds the stream; empty without keys
  };

  explicit EventStream(Identity identity) : identity_(std::move(identity)) {}

  const Identity& identity() const { return identity_; }

  // --- the producer's side
  // The request was taken: what follows is its answer, no refusal.
  void Accept();
  void Publish(v1::GenerateEvent event);  // numbered one more than the last
  void End(const Status& status);         // the first word counts
  // What to do when the last reader has left before the end; nothing: the request goes on.
  void SetAbandon(std::function<void()> abandon);
  // How the request is ended on demand, where that is not the engine's business; false: it is, by
  // now.
  void SetCancel(std::function<bool()> cancel);
  // Abandons the stream if by `due` nobody has ever joined: its readers may have been lost with an
  // earlier coordinator.
  void ExpectReader(TimePoint due);
  void AbandonIfUnread(TimePoint now);

  // --- a reader's side
  struct Next {
    const v1::GenerateEvent* event = nullptr;
    std::optional<Status> end;  // with no event: nothing comes any more
    bool accepted = false;
  };
  Next Look(int64_t seq) const;
  int64_t num_events() const;
  // The stream holds the reader until it leaves.
  void Join(std::shared_ptr<Reader> reader);
  void Leave(const Reader& reader);
  // False when the engine must be asked.
  bool Cancel();

 private:
  void WakeReaders();

  const Identity identity_;
  mutable std::mutex mutex_;
  std::deque<v1::GenerateEvent> events_;  // a deque, so that none ever moves
  bool accepted_ = false;
  std::optional<Status> end_;
  std::vector<std::shared_ptr<Reader>> readers_;
  std::function<void()> abandon_;
  std::function<bool()> cancel_;
  TimePoint reader_due_ = TimePoint::max();
};

}  // namespace longhand::api
