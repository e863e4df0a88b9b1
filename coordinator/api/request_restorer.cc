#include "coordinator/api/request_restorer.h"

#include <utility>

#include "coordinator/api/event_wire.h"
#include "coordinator/api/stream_sink.h"

namespace longhand::api {
namespace {

// How long the clients of an earlier coordinator have to come back to streams that they hold.
constexpr Duration kReaderPatience = std::chrono::seconds(60);

}  // namespace

void RequestRestorer::BeginStreams(const std::vector<journal::StoredRequest>& unfinished) {
  for (const journal::StoredRequest& stored : unfinished) {
    Unfinished request;
    Result<StoredStream> parsed = StoredStream::Parse(stored);
    if (parsed.ok()) {
      request.stored = std::move(parsed).value();
    } else {
      request.damage = parsed.status();
      request.stored.record.mutable_request()->set_request_id(stored.request_id);
    }
    Result<StreamTable::Begun> begun = parts_.streams.Begin(request.stored.identity());
    LONGHAND_CHECK(begun.ok() && begun->is_new) << stored.request_id << " is stored twice";
    request.stream = begun->stream;
    request.stored.Fill(request.stream.get());
    if (request.stored.record.request().on_disconnect() != v1::ON_DISCONNECT_CONTINUE) {
      request.stream->SetAbandon([&engine = parts_.engine, id = stored.request_id] {
        (void)engine.CancelCall(id, /*call=*/0);
      });
      request.stream->ExpectReader(parts_.clock.Now() + kReaderPatience);
    }
    requests_.push_back(std::move(request));
  }
}

void RequestRestorer::Restore() {
  Counter& restored =
      parts_.metrics.GetCounter("longhand_journal_requests_restored_total",
                                "Requests of an earlier coordinator that went on from the journal");
  for (const Unfinished& request : std::exchange(requests_, {})) {
    const Status status = Restore(request);
    if (status.ok()) {
      restored.Increment();
    } else if (status.code() != StatusCode::kUnavailable) {  // Then this coordinator ends, too.
      MakeSink(request, {})->OnEnd(status);
    }
  }
}

Status RequestRestorer::Restore(const Unfinished& request) {
  LONGHAND_RETURN_IF_ERROR(request.damage);
  const v1::GenerateRequest& wire = request.stored.record.request();
  LONGHAND_ASSIGN_OR_RETURN(engine::Request prepared, parts_.preparer.Prepare(wire));
  prepared.request_id = wire.request_id();
  LONGHAND_ASSIGN_OR_RETURN(engine::Delivered delivered,
                            DeliveredOf(request.stored.events, prepared.num_choices));
  std::unique_ptr<engine::TokenSink> sink = MakeSink(request, prepared.token_ids);
  return parts_.engine.Restore(std::move(prepared), std::move(delivered), std::move(sink));
}

std::unique_ptr<engine::TokenSink> RequestRestorer::MakeSink(
    const Unfinished& request, std::vector<int32_t> prompt_token_ids) const {
  const v1::GenerateRequest& wire = request.stored.record.request();
  return std::make_unique<StreamSink>(StreamSink::Parts{parts_.streams, parts_.journal},
                                      request.stream,
                                      EventContext{.request_id = wire.request_id(),
                                                   .wanted = wire.return_(),
                                                   .prompt_token_ids = std::move(prompt_token_ids)},
                                      /*record=*/"");
}

}  // namespace longhand::api
