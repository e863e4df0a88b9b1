// DocumentWriter: one document in the making. It makes the calls to the model that its script asks
// for, follows their streams, and publishes what the script makes of them.
//
// It has no thread: the streams' producer wakes it for every event, which it passes on at once;
// what takes time (prompts, pictures, outlines) runs on the input pool. A call that the engine
// cannot take now is made again later, once the document has been accepted; until then the first
// call's refusal is the document's.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "common/trace.h"
#include "coordinator/api/event_stream.h"
#include "coordinator/api/recorded_stream.h"
#include "coordinator/documents/document_script.h"

namespace longhand::documents {

// What became of a document, in numbers.
struct DocumentSummary {
  std::string request_id;
  Trace trace;
  std::string model;
  Status status;
  bool was_taken = false;  // otherwise it was refused
  size_t num_sections = 0;
  int64_t num_words = 0;
};

// Any thread, unless a method says otherwise.
class DocumentWriter final : public api::EventStream::Reader,
                             public std::enable_shared_from_this<DocumentWriter> {
 public:
  // What it works with, all of it for as long as documents are written.
  struct Parts {
    // Input thread. The stream of a call: that of the same call, if it runs or is kept.
    std::function<Result<std::shared_ptr<api::EventStream>>(const v1::GenerateRequest& call,
                                                            const std::string& owner)>
        begin_call;
    std::function<void(const std::string& request_id, const std::string& owner)> cancel_call;
    std::function<Status(std::function<void()>)> run_on_pool;
    const Clock& clock;
    // Once, when the document has come to its end, which the journal may still have to write.
    std::function<void(const DocumentSummary&)> on_over;
  };

  // `stream` has what an earlier coordinator published; the same events are not published again.
  // `is_taken`: the journal has the document.
  DocumentWriter(const Parts& parts,
                 DocumentScript script,
                 std::shared_ptr<api::EventStream> stream,
                 api::RecordedStream out,
                 bool is_taken);

  // Input thread. The first call.
  void Begin() { MakeCall(); }
  // Ends the document, and the call that runs.
  void Cancel(const Status& why);
  // The process ends; the next one goes on.
  void Abandon();
  // Makes calls again whose time has come.
  void LookAround(TimePoint now);

  struct Progress {
    size_t num_sections = 0;  // 0: there is no outline yet
    int64_t num_words_written = 0;
    int64_t num_words_planned = 0;
  };
  Progress progress() const;

 private:
  using Job = void (DocumentWriter::*)();

  void OnMore() override;

  // With the mutex held.
  void Advance();
  Status Publish(DocumentScript::Events events);
  void OnCallEnded(const Status& end, bool was_taken);
  void End(const Status& status);
  void Leave();
  void Run(Job job);  // now, or when the pool has room
  void RunLater(Job job, Duration in);

  // Input thread; each is the only one that touches the script meanwhile (is_busy_).
  void MakeCall();
  void FinishCall();

  const Parts parts_;
  const std::shared_ptr<api::EventStream> stream_;  // shared with its readers and the journal
  const int64_t num_stored_;                        // events that the stream had

  mutable std::mutex mutex_;
  DocumentScript script_;
  api::RecordedStream out_;
  bool is_taken_;
  bool is_over_ = false;
  bool is_cancelled_ = false;
  bool is_busy_ = true;  // a job is under way, or due
  int64_t last_seq_ = 0;
  Progress progress_;

  std::shared_ptr<api::EventStream> call_;  // shared with its producer
  bool is_call_taken_ = false;
  int64_t next_call_seq_ = 1;
  int num_expired_ = 0;  // calls before this one that were taken and came to nothing

  Job due_ = nullptr;
  TimePoint due_at_;
  Duration pause_{};  // before a call is made again
};

}  // namespace longhand::documents
