// RequestIntake: where requests begin and streams are found, whoever asks: the gRPC service and the
// HTTP gateway.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/trace.h"
#include "coordinator/api/event_stream.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/engine/router.h"
#include "coordinator/journal/journal.h"
#include "shim/tokenizer.h"

namespace longhand::api {

// Any number of threads; what is said to be for an input thread takes its time.
class RequestIntake {
 public:
  struct Parts {
    const RequestPreparer& preparer;
    const shim::Tokenizer& tokenizer;
    engine::Router& router;
    StreamTable& streams;
    journal::Journal* journal = nullptr;  // none: nothing is kept
    std::filesystem::path journal_directory;
    std::string checkpoint_digest;  // kept with each request
    // Bytes of requests that may be held while their pictures are decoded.
    int64_t max_bytes_in_preparation = 0;
    bool traces = false;  // new calls
    Metrics& metrics;
    engine::RequestObserver on_refusal;  // of those that the engine never saw; may be empty
  };
  // One client's call for an answer.
  struct Call {
    std::string request_id;  // which two clients may choose alike
    int64_t number = 0;      // which is this call's alone
    TimePoint deadline = TimePoint::max();
    Trace trace;
    std::string owner;  // the API key's name, the tenant; empty: the request's cache_salt says
    // Of a document, which makes the call; it has been taken, so that draining lets it end.
    bool is_part = false;
    AdapterTable::Held adapter;  // of a part: what its document holds, loaded or not
  };
  // Begins what a new stream is for.
  using Begin = std::function<Status(const std::shared_ptr<EventStream>&)>;

  explicit RequestIntake(Parts parts)
      : parts_(std::move(parts)),
        knows_kept_(parts_.journal == nullptr),
        clients_returned_(
            parts_.metrics.GetCounter("longhand_stream_resumes_total", {{"cause", "client"}})) {}

  // What an earlier coordinator left is known from here on. Until then everybody gets kUnavailable:
  // nobody is told that his stream is not there because it could not be looked for. Without a
  // journal it need not be called.
  void BeginKept() { knows_kept_ = true; }

  // `asked` may be empty: then an id is drawn, "gen-..." for the prefix "gen". kInvalidArgument for
  // what is no id. `traceparent`: the caller's, in W3C's form; may be empty.
  Result<Call> NewCall(const std::string& asked,
                       const std::string& prefix,
                       TimePoint deadline,
                       std::string_view traceparent);

  // Counts a request's bytes until they are released. kResourceExhausted over what may be held.
  Status Reserve(int64_t bytes);
  void Release(int64_t bytes) { bytes_in_preparation_ -= bytes; }

  // Input thread. kUnavailable when the journal's disk has no room for the record.
  Status CheckRoom(const std::string& record) const;

  // Input thread. The stream of the request: of the one that runs already, of the one that is kept,
  // or of a new one. What is wrong with a new one is its stream's end, before it is accepted.
  // kAlreadyExists when the id is another request's.
  Result<std::shared_ptr<EventStream>> FollowOrBegin(const v1::GenerateRequest& wire,
                                                     const journal::v1::AnswerForm& form,
                                                     Call call);
  // The same for what is begun in another way. `sent` is the request as its client sent it,
  // `may_be_kept` whether the client named it.
  Result<std::shared_ptr<EventStream>> FollowOrBegin(const google::protobuf::Message& sent,
                                                     const journal::v1::AnswerForm& form,
                                                     const Call& call,
                                                     bool may_be_kept,
                                                     const Begin& begin);

  // The same for requests that are answered together, over one connection: none is begun where one
  // of them cannot be. They are new, nobody else finds their streams, and the journal has nothing
  // of them. `call` is of all.
  Result<std::vector<std::shared_ptr<EventStream>>> BeginTogether(
      const std::vector<v1::GenerateRequest>& wires,
      const journal::v1::AnswerForm& form,
      const Call& call);

  // From now on nothing new is begun for clients: kUnavailable.
  void BeginDrain() { is_draining_ = true; }
  bool is_draining() const { return is_draining_; }

  // A client comes back to its stream: null when no such request of the owner's runs.
  std::shared_ptr<EventStream> FindRunning(const std::string& request_id,
                                           const std::string& owner) const;
  bool keeps_streams() const { return parts_.journal != nullptr; }
  // Input thread. The same for a request that runs or is kept, or kNotFound.
  Result<std::shared_ptr<EventStream>> Find(const std::string& request_id,
                                            const std::string& owner) const;
  // Ends a running request. `done` is called once, from any thread, unless this is an error: as
  // engine::Router::Cancel, and kNotFound for a request of another owner's.
  Status Cancel(const std::string& request_id,
                const std::string& owner,
                std::function<void(const Status&)> done);

  // Input thread.
  Result<std::vector<int32_t>> Tokenize(const v1::TokenizeRequest& request) const;
  Result<std::string> Detokenize(const v1::DetokenizeRequest& request) const;

  const RequestPreparer& preparer() const { return parts_.preparer; }
  const shim::Tokenizer& tokenizer() const { return parts_.tokenizer; }

 private:
  Status CheckKept() const;
  void TellRefusal(const Call& call, const Status& status) const;
  // The stream is another one where the journal has the request.
  Status FillOrBegin(std::shared_ptr<EventStream>* stream,
                     const Call& call,
                     bool may_be_kept,
                     const Begin& begin);
  Status PrepareAndSubmit(const std::shared_ptr<EventStream>& stream,
                          const v1::GenerateRequest& wire,
                          const Call& call);
  // `journal` may be null: then nothing is kept of it.
  Status Submit(engine::Request request,
                const std::shared_ptr<EventStream>& stream,
                const v1::GenerateRequest& wire,
                const Call& call,
                journal::Journal* journal);
  Result<std::vector<engine::Request>> PrepareTogether(
      const std::vector<v1::GenerateRequest>& wires) const;
  // What the journal has of the request, as it was shown first; null when it has nothing. Who
  // follows `stream` already sees the same events.
  Result<std::shared_ptr<EventStream>> FillFromJournal(EventStream& stream) const;

  const Parts parts_;
  std::atomic<bool> knows_kept_;
  Counter& clients_returned_;
  std::atomic<int64_t> bytes_in_preparation_ = 0;
  std::atomic<int64_t> num_calls_ = 0;
  std::atomic<bool> is_draining_ = false;
};

// `from` as a place in the stream: 0 is 1. kInvalidArgument beyond the event that comes next.
Result<int64_t> PlaceIn(const EventStream& stream, int64_t from);

}  // namespace longhand::api
