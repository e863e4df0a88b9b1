// Documents: those that are being written. Takes new ones within bounds, takes up those of an
// earlier coordinator, and tells how far they are.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/metrics.h"
#include "common/text/word_counter.h"
#include "coordinator/api/document_desk.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/documents/document_writer.h"

namespace longhand::documents {

// Any thread, unless DocumentDesk says otherwise.
class Documents final : public api::DocumentDesk {
 public:
  struct Parts {
    api::RequestIntake& intake;
    api::InputPool& pool;
    api::RecordedStream::Parts out;
    std::string checkpoint_digest;  // kept with each document
    int64_t max_documents = 0;      // at once
    int64_t max_bytes = 0;          // of their requests, pictures above all
    const Clock& clock;
    Metrics& metrics;
    std::function<void(const DocumentSummary&)> on_end;  // of those that were taken; may be empty
  };
  explicit Documents(Parts parts);
  ~Documents() override { Stop(); }

  Result<std::shared_ptr<api::EventStream>> FollowOrBegin(const v1::WriteDocumentRequest& wire,
                                                          api::RequestIntake::Call call) override;
  void Restore(const std::shared_ptr<api::EventStream>& stream,
               const journal::v1::RequestRecord& record,
               api::AdapterTable::Held adapter) override;

  // Several times a second: calls that wait are made again, gauges are set.
  void LookAround(TimePoint now);
  // `done` comes when no document is left, perhaps at once, or with Stop().
  void WhenIdle(std::function<void()> done);
  // Nothing more is published: the next coordinator goes on.
  void Stop();

 private:
  struct Running {
    std::shared_ptr<DocumentWriter> writer;  // shared with the streams that it follows
    int64_t num_bytes = 0;
  };

  Status Begin(const std::shared_ptr<api::EventStream>& stream,
               const v1::WriteDocumentRequest& wire,
               const api::RequestIntake::Call& call);
  std::shared_ptr<DocumentWriter> MakeWriter(const std::shared_ptr<api::EventStream>& stream,
                                             v1::WriteDocumentRequest request,
                                             api::AdapterTable::Held adapter,
                                             const Trace& trace,
                                             api::RecordedStream out,
                                             bool is_taken);
  Status Add(const api::EventStream& stream, Running running, bool is_bounded);
  // Writes what was added.
  static void Begin(api::EventStream& stream,
                    const std::shared_ptr<DocumentWriter>& writer,
                    v1::OnDisconnect on_disconnect);
  Counter& CounterOf(const DocumentSummary& summary) const;
  void OnOver(const api::EventStream* stream, const DocumentSummary& summary);
  std::vector<std::shared_ptr<DocumentWriter>> All() const;

  const Parts parts_;
  const WordCounter counter_;
  Counter& written_;
  Counter& cancelled_;
  Counter& failed_;
  Counter& refused_;
  Gauge& num_running_;
  Gauge& section_progress_;
  mutable std::mutex mutex_;
  // Once its stream has ended, a document's id may be another's.
  std::unordered_map<const api::EventStream*, Running> running_;
  int64_t num_bytes_ = 0;
  std::vector<std::function<void()>> idle_waiters_;
  bool is_stopped_ = false;
};

}  // namespace longhand::documents
