// AnswerHandler: several prompts in one request. Each is a request of its own inside, and their
// streams are followed together: by one connection, for once, without numbers to come back by.
#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "coordinator/http/answer_handler.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/following.h"
#include "coordinator/http/pool_job.h"

namespace longhand::http {
namespace {

namespace json = boost::json;
using api::EventStream;

// Where the exchange stands in one of the streams.
struct Place {
  Place(const std::shared_ptr<EventStream>& followed, Waker wake)
      : stream(*followed), following(followed, std::move(wake)) {}

  const EventStream& stream;
  const Following following;
  int64_t next_seq = 1;
  bool is_over = false;
};

using Places = std::deque<Place>;  // none of which moves

void Follow(const std::vector<std::shared_ptr<EventStream>>& streams,
            const Waker& wake,
            Places* places) {
  for (const auto& stream : streams) places->emplace_back(stream, wake);
}

bool IsOver(const Places& places) {
  return std::ranges::all_of(places, [](const Place& place) { return place.is_over; });
}

}  // namespace

boost::asio::awaitable<void> AnswerHandler::AnswerTogether(Exchange& exchange,
                                                           AnswerRequest& request,
                                                           const api::RequestIntake::Call& call) {
  const std::string* last_event = exchange.request().FindHeader("last-event-id");
  if (last_event != nullptr && !last_event->empty()) {
    co_return co_await exchange.Reply(ErrorResponse(InvalidArgument(
        "Last-Event-ID is set, and prompt has several prompts; answers to several end with the "
        "connection, and nobody can come back to them")));
  }
  const uint32_t num_choices = NumChoices(request.wire);
  using Streams = std::vector<Stream>;
  Result<Streams> streams = co_await OnPool<Streams>(exchange, parts_.pool, [&] {
    std::vector<v1::GenerateRequest> wires = std::move(request.further);
    wires.insert(wires.begin(), std::move(request.wire));
    return parts_.intake.BeginTogether(wires, request.form, call);
  });
  if (!streams.ok()) {
    co_return co_await exchange.Reply(
        ErrorResponse(OfField(request.constraint_field, streams.status())));
  }
  exchange.ReleaseBody();
  AnswerHead head = HeadOf(*streams->front());
  head.request_id = call.request_id;
  if (!request.stream) co_return co_await SendWholeTogether(exchange, *streams, head, num_choices);
  const auto lines =
      *request.bare_events ? EventWriter::Lines::kDataOnly : EventWriter::Lines::kWithoutIds;
  co_await SendEventsTogether(exchange, *streams, head, num_choices, lines);
}

boost::asio::awaitable<void> AnswerHandler::SendWholeTogether(Exchange& exchange,
                                                              const std::vector<Stream>& streams,
                                                              const AnswerHead& head,
                                                              uint32_t num_choices) {
  Places places;
  Follow(streams, exchange.waker(), &places);
  std::vector<Events> prompts(streams.size());
  while (!exchange.gone()) {
    for (size_t i = 0; i < places.size(); ++i) {
      Place& place = places[i];
      if (place.is_over) continue;
      EventStream::Next next = place.stream.Look(place.next_seq);
      for (; next.event != nullptr; next = place.stream.Look(++place.next_seq))
        prompts[i].push_back(next.event);
      if (!next.end) continue;
      if (!next.end->ok()) {
        const Status status = next.end->WithContext("prompt " + std::to_string(i));
        co_return co_await exchange.Reply(ErrorResponse(status));
      }
      place.is_over = true;
    }
    if (IsOver(places)) break;
    co_await exchange.Sleep(std::nullopt);
  }
  if (exchange.gone()) co_return;
  Result<std::string> body =
      co_await OnPool<std::string>(exchange, parts_.pool, [&]() -> Result<std::string> {
        return json::serialize(
            WholeAnswerJson(head, parts_.intake.tokenizer(), prompts, num_choices));
      });
  if (!body.ok()) co_return co_await exchange.Reply(ErrorResponse(body.status()));
  Response response{.body = std::move(body).value()};
  co_await exchange.Reply(std::move(response));
}

boost::asio::awaitable<void> AnswerHandler::SendEventsTogether(Exchange& exchange,
                                                               const std::vector<Stream>& streams,
                                                               const AnswerHead& head,
                                                               uint32_t num_choices,
                                                               EventWriter::Lines lines) {
  Places places;
  Follow(streams, exchange.waker(), &places);
  for (size_t i = 0; i < places.size() && !exchange.gone();) {
    const EventStream::Next next = places[i].stream.Look(1);
    if (!next.accepted && next.end) {
      const Status status = next.end->WithContext("prompt " + std::to_string(i));
      co_return co_await exchange.Reply(ErrorResponse(status));
    }
    if (next.accepted) {
      ++i;
    } else {
      co_await exchange.Sleep(std::nullopt);
    }
  }
  if (exchange.gone()) co_return;
  std::deque<EventWriter> writers;
  for (size_t i = 0; i < places.size(); ++i) {
    writers.emplace_back(head, parts_.intake.tokenizer(), lines,
                         static_cast<uint32_t>(i) * num_choices);
  }
  if (!co_await exchange.Begin(EventStreamHead())) co_return;
  std::string out;
  Deadline ping_due = NextPing(lines, std::chrono::steady_clock::now());
  bool is_over = false;
  while (!exchange.gone() && !is_over) {
    for (size_t i = 0; i < places.size() && out.size() < kMaxSendBytes; ++i) {
      Place& place = places[i];
      if (place.is_over) continue;
      EventStream::Next next = place.stream.Look(place.next_seq);
      for (; next.event != nullptr && out.size() < kMaxSendBytes;
           next = place.stream.Look(++place.next_seq))
        writers[i].Append(*next.event, &out);
      if (next.event != nullptr || !next.end) continue;
      place.is_over = true;
      if (next.end->ok()) continue;
      writers[i].AppendTail(0, next.end->WithContext("prompt " + std::to_string(i)), 0, &out);
      is_over = true;
      break;
    }
    if (!is_over && IsOver(places)) {
      v1::Usage usage;
      for (const EventWriter& writer : writers) AddUsage(writer.usage(), &usage);
      writers.front().AppendTailOf(usage, &out);
      is_over = true;
    }
    const bool is_there = co_await SendOrSleep(exchange, lines, is_over, &ping_due, &out);
    if (!is_there) co_return;
  }
  if (is_over) co_await exchange.End();
}

}  // namespace longhand::http
