// RequestRestorer: requests that an earlier coordinator did not bring to their end go on.
//
// Those that were tried before and got not one event further may be what ended the coordinator:
// they are tried one at a time, each noted in the journal before it begins, until it gets its next
// event. One that was tried alone twice, while tokens could be made, and in vain, is given up.
// Until the engine has a request it is ended here, on demand or when its clients leave.
// Documents compute nothing themselves and are under no suspicion: their calls to the model are
// requests of their own.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/clock.h"
#include "coordinator/api/adapter_table.h"
#include "coordinator/api/document_desk.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/api/stored_stream.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/engine/router.h"
#include "coordinator/journal/journal.h"

namespace longhand::api {

class RequestRestorer {
 public:
  struct Parts {
    const RequestPreparer& preparer;
    engine::Router& router;
    StreamTable& streams;
    DocumentDesk& documents;
    journal::Journal* journal = nullptr;
    AdapterTable& adapters;
    std::function<bool()> is_ready;  // whether tokens can be made, draining or not; any thread
    std::string checkpoint_digest;   // what is loaded here; another one's requests cannot go on
    const Clock& clock;
    Metrics& metrics;
  };
  explicit RequestRestorer(Parts parts);

  // Begins their streams with what is stored, so that a client can follow them. Before anybody can
  // ask for one.
  void BeginStreams(const std::vector<journal::StoredRequest>& unfinished);
  // After BeginStreams: loads the adapters that they were begun with, and waits for that. Clients
  // may have others loaded after it.
  void HoldAdapters();
  bool holds_adapters() const { return holds_adapters_; }  // any thread
  // Prepares each and gives it to the engine, oldest first. What cannot go on ends, with the
  // reason. Input thread.
  void Restore();
  // Any thread. `done` comes when the engine has all that can go on, or Restore takes up nothing
  // more.
  void WhenIdle(std::function<void()> done);
  // Any thread: Restore takes up nothing more.
  void Stop();
  // After Restore and the engine: this coordinator ends in order, so no request is under suspicion.
  void Acquit();

 private:
  enum class State { kHere, kGiven, kWithdrawn };
  struct Unfinished {
    std::shared_ptr<EventStream> stream;
    StoredStream stored;
    AdapterTable::Held adapter;  // until it is given
    Status damage;               // why it cannot go on
    int32_t attempts = 0;        // in vain, since its latest event
    State state = State::kHere;
  };

  // Notes the attempts in the journal, in one go, and waits until they are on disk.
  void NoteAttempts(std::vector<Unfinished*> requests);
  void RestoreOrEnd(Unfinished& request);
  void RestoreSuspect(Unfinished& request);
  void WaitForProgress(const EventStream& stream) const;
  Status Restore(Unfinished& request);
  Status Give(Unfinished& request, engine::Request prepared, engine::Delivered delivered);
  void End(Unfinished& request, const Status& status);
  // Any thread: ends a request that is still here, of a document its calls too. False when it is
  // with the engine.
  bool Withdraw(Unfinished& request);
  bool IsWithdrawn(const Unfinished& request) const;
  void TellIdle();
  // A document's calls have its pictures; one whose document is over is not needed any more.
  void JoinDocuments();
  // Whether what is loaded here is what began it.
  Status CheckCheckpoint(const journal::v1::RequestRecord& record) const;
  std::unique_ptr<engine::TokenSink> MakeSink(const Unfinished& request,
                                              std::vector<int32_t> prompt_token_ids) const;

  const Parts parts_;
  Counter& restored_;
  Counter& tokens_lost_;
  std::deque<Unfinished> requests_;  // none of which ever moves
  std::atomic<bool> holds_adapters_ = false;
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;  // of the states, and of what is stored of those that are here
  bool is_idle_ = true;
  std::vector<std::function<void()>> idle_waiters_;
};

}  // namespace longhand::api
