#include "coordinator/http/answer_handler.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "coordinator/http/document_json.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/following.h"
#include "coordinator/http/json_body.h"
#include "coordinator/http/pool_job.h"
#include "coordinator/http/told.h"

namespace longhand::http {
namespace {

namespace json = boost::json;
using api::EventStream;

// Input thread.
Result<AnswerRequest> ParseBody(std::string body,
                                Status (*parse)(const json::object&, AnswerRequest*)) {
  LONGHAND_ASSIGN_OR_RETURN(const json::object fields, ParseJsonBody(body));
  std::string().swap(body);  // Pictures are large.
  AnswerRequest request;
  LONGHAND_RETURN_IF_ERROR(parse(fields, &request));
  return request;
}

bool ReadEventNumber(const std::string* text, int64_t* number) {
  *number = 0;
  if (text == nullptr) return true;
  const char* end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data(), end, *number);
  return error == std::errc() && at == end && *number >= 0 &&
         *number < std::numeric_limits<int64_t>::max();
}

// The event after the last that the client saw; 0 when it does not say. False for no number.
bool ReadFrom(const Request& request, int64_t* from) {
  const std::string* query = request.FindQuery("from");
  const std::string* header = request.FindHeader("last-event-id");
  if (header != nullptr && header->empty()) header = nullptr;  // of a client that saw none
  int64_t last = 0;
  if (!ReadEventNumber(query, from) || !ReadEventNumber(header, &last)) return false;
  if (query == nullptr && header != nullptr) *from = last + 1;
  return true;
}

const char* IdPrefix(journal::v1::AnswerForm::Kind kind) {
  switch (kind) {
    case journal::v1::AnswerForm::KIND_TEXT_COMPLETION:
      return "cmpl";
    case journal::v1::AnswerForm::KIND_DOCUMENT:
      return "doc";
    default:
      return "chatcmpl";
  }
}

// Load generators that take an event for one line (vllm bench serve, SGLang's bench_serving) and
// give no name but their library's, unless something shows that ids are wanted.
bool TakesEventsForLines(const Request& request) {
  const std::string* agent = request.FindHeader("user-agent");
  const std::string* accept = request.FindHeader("accept");
  return agent != nullptr && agent->find(" aiohttp/") != std::string::npos &&
         (accept == nullptr || accept->find("text/event-stream") == std::string::npos) &&
         request.FindHeader("last-event-id") == nullptr;
}

}  // namespace

// Bytes of pictures that were fetched: they count as those of bodies do. One thread at a time.
class AnswerHandler::FetchedBytes {
 public:
  explicit FetchedBytes(api::RequestIntake& intake) : intake_(intake) {}
  ~FetchedBytes() { Release(); }
  FetchedBytes(const FetchedBytes&) = delete;

  Status Reserve(int64_t bytes) {
    LONGHAND_RETURN_IF_ERROR(intake_.Reserve(bytes));
    bytes_ += bytes;
    return OkStatus();
  }
  void Release() { intake_.Release(std::exchange(bytes_, 0)); }

 private:
  api::RequestIntake& intake_;
  int64_t bytes_ = 0;
};

Response AnswerHandler::EventStreamHead() {
  return {.content_type = "text/event-stream; charset=utf-8",
          .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
}

AnswerHead AnswerHandler::HeadOf(const EventStream& stream) const {
  const journal::v1::AnswerForm& form = stream.identity().form;
  const std::string& served = parts_.intake.preparer().served_model_name();
  return {stream.identity().request_id, form.model().empty() ? served : form.model(), form};
}

boost::asio::awaitable<void> AnswerHandler::Chat(Exchange& exchange) {
  return Answer(exchange, ParseChatRequest);
}

boost::asio::awaitable<void> AnswerHandler::Complete(Exchange& exchange) {
  return Answer(exchange, ParseCompletionRequest);
}

boost::asio::awaitable<void> AnswerHandler::Document(Exchange& exchange) {
  return Answer(exchange, ParseDocumentRequest);
}

boost::asio::awaitable<void> AnswerHandler::Answer(Exchange& exchange, Parse parse) {
  Result<AnswerRequest> parsed = co_await OnPool<AnswerRequest>(
      exchange, parts_.pool,
      [&exchange, parse] { return ParseBody(std::move(exchange.request().body), parse); });
  if (!parsed.ok()) co_return co_await exchange.Reply(ErrorResponse(parsed.status()));
  AnswerRequest& request = *parsed;
  int64_t from = 0;
  if (!ReadFrom(exchange.request(), &from)) {
    co_return co_await exchange.Reply(
        ErrorResponse(InvalidArgument("Last-Event-ID is no number of an event")));
  }
  FetchedBytes fetched(parts_.intake);
  if (const Status status = co_await FetchImages(exchange, &request, &fetched); !status.ok())
    co_return co_await exchange.Reply(ErrorResponse(status.About("messages")));
  const std::string* traceparent = exchange.request().FindHeader("traceparent");
  Result<api::RequestIntake::Call> call = parts_.intake.NewCall(
      request.wire.request_id(), IdPrefix(request.form.kind()), TimePoint::max(),
      traceparent != nullptr ? std::string_view(*traceparent) : std::string_view());
  if (!call.ok()) co_return co_await exchange.Reply(ErrorResponse(call.status()));
  call->owner = NameCaller(parts_.keys, exchange.request()).value();  // checked with the head
  if (!request.bare_events.has_value()) {
    request.bare_events =
        request.wire.request_id().empty() && TakesEventsForLines(exchange.request());
  }
  const auto lines =
      *request.bare_events ? EventWriter::Lines::kDataOnly : EventWriter::Lines::kAll;
  if (exchange.gone()) co_return;
  if (!request.further.empty()) co_return co_await AnswerTogether(exchange, request, *call);
  Result<Stream> stream = co_await OnPool<Stream>(exchange, parts_.pool, [&] {
    if (request.form.kind() == journal::v1::AnswerForm::KIND_DOCUMENT)
      return parts_.documents.FollowOrBegin(TakeDocument(request), *call);
    return parts_.intake.FollowOrBegin(request.wire, request.form, *call);
  });
  if (!stream.ok()) co_return co_await exchange.Reply(ErrorResponse(stream.status()));
  const bool wants_stream = request.stream;
  const std::string constraint_field = request.constraint_field;
  parsed = AnswerRequest();  // What was prepared is the engine's now.
  exchange.ReleaseBody();
  fetched.Release();
  if (wants_stream) {
    co_await SendEvents(exchange, std::move(stream).value(), from, lines, constraint_field);
  } else {
    co_await SendWhole(exchange, std::move(stream).value(), constraint_field);
  }
}

boost::asio::awaitable<Status> AnswerHandler::FetchImages(Exchange& exchange,
                                                          AnswerRequest* request,
                                                          FetchedBytes* fetched) {
  if (request->image_urls.empty()) co_return OkStatus();
  if (parts_.fetcher == nullptr) {
    co_return InvalidArgument(
        "an image_url begins with https://; send pictures as data URLs, or start the server with "
        "--allow-image-urls");
  }
  const Status allowed = parts_.intake.preparer().CheckNumImages(request->wire.images_size());
  if (!allowed.ok()) co_return allowed;
  const Result<bool> done =
      co_await OnPool<bool>(exchange, *parts_.fetch_pool, [=, this]() -> Result<bool> {
        for (const auto& [index, url] : request->image_urls) {
          Result<std::string> bytes = parts_.fetcher->Fetch(url);
          if (!bytes.ok()) return bytes.status().WithContext("image " + std::to_string(index));
          LONGHAND_RETURN_IF_ERROR(fetched->Reserve(std::ssize(*bytes)));
          request->wire.mutable_images(index)->set_data(std::move(bytes).value());
        }
        return true;
      });
  co_return done.status();
}

boost::asio::awaitable<void> AnswerHandler::Attach(Exchange& exchange, std::string request_id) {
  int64_t from = 0;
  if (!ReadFrom(exchange.request(), &from))
    co_return co_await exchange.Reply(
        ErrorResponse(InvalidField("from", " or Last-Event-ID is no number of an event")));
  const std::string caller = NameCaller(parts_.keys, exchange.request()).value();  // as above
  Stream stream = parts_.intake.FindRunning(request_id, caller);
  if (stream == nullptr) {
    Result<Stream> found = co_await OnPool<Stream>(
        exchange, parts_.pool, [&] { return parts_.intake.Find(request_id, caller); });
    if (!found.ok()) co_return co_await exchange.Reply(ErrorResponse(found.status()));
    stream = std::move(found).value();
  }
  co_await SendEvents(exchange, std::move(stream), from, EventWriter::Lines::kAll, "");
}

boost::asio::awaitable<void> AnswerHandler::Cancel(Exchange& exchange, std::string request_id) {
  const std::string caller = NameCaller(parts_.keys, exchange.request()).value();  // as above
  const std::function<void(std::function<void(const Status&)>)> cancel = [&](auto told) {
    const Status asked = parts_.intake.Cancel(request_id, caller, told);
    if (!asked.ok()) told(asked);
  };
  const std::optional<Status> status = co_await WhenTold<Status>(exchange, cancel);
  if (!status) co_return;
  if (!status->ok()) co_return co_await exchange.Reply(ErrorResponse(*status));
  Response done{.status = 204, .content_type = ""};
  co_await exchange.Reply(std::move(done));
}

boost::asio::awaitable<void> AnswerHandler::SendWhole(Exchange& exchange,
                                                      Stream stream,
                                                      std::string constraint_field) {
  const Following following(stream, exchange.waker());
  std::vector<const v1::GenerateEvent*> events;
  while (true) {
    if (exchange.gone()) co_return;
    const EventStream::Next next = stream->Look(static_cast<int64_t>(events.size()) + 1);
    if (next.event != nullptr) {
      events.push_back(next.event);
    } else if (next.end.has_value()) {
      if (!next.end->ok())
        co_return co_await exchange.Reply(ErrorResponse(OfField(constraint_field, *next.end)));
      break;
    } else {
      co_await exchange.Sleep(std::nullopt);
    }
  }
  const AnswerHead head = HeadOf(*stream);
  Result<std::string> body =
      co_await OnPool<std::string>(exchange, parts_.pool, [&]() -> Result<std::string> {
        return json::serialize(head.is_document()
                                   ? WholeDocumentJson(head, events)
                                   : WholeAnswerJson(head, parts_.intake.tokenizer(), events));
      });
  if (!body.ok()) co_return co_await exchange.Reply(ErrorResponse(body.status()));
  Response response{.body = std::move(body).value()};
  co_await exchange.Reply(std::move(response));
}

boost::asio::awaitable<void> AnswerHandler::SendEvents(Exchange& exchange,
                                                       Stream stream,
                                                       int64_t from,
                                                       EventWriter::Lines lines,
                                                       std::string constraint_field) {
  std::optional<Following> following;  // Whoever leaves may end the request.
  const bool follows = exchange.request().method != "HEAD";
  if (follows) following.emplace(stream, exchange.waker());
  EventStream::Next next = stream->Look(1);
  while (follows && !next.accepted && !next.end && !exchange.gone()) {
    co_await exchange.Sleep(std::nullopt);
    next = stream->Look(1);
  }
  if (exchange.gone()) co_return;
  if (!next.accepted && next.end)
    co_return co_await exchange.Reply(ErrorResponse(OfField(constraint_field, *next.end)));
  EventWriter writer(HeadOf(*stream), parts_.intake.tokenizer(), lines);
  int64_t seq = 1;
  for (; seq < from; ++seq) {
    next = stream->Look(seq);
    if (next.event == nullptr) break;
    writer.Skip(*next.event);
  }
  if (seq < from) {
    const int64_t last = seq + (next.end ? writer.TailLength(*next.end) : 0);
    if (from > last) {
      co_return co_await exchange.Reply(
          ErrorResponse(InvalidField("from", " is ", from, "; the stream has ", seq - 1,
                                     " events, so it must be from 1 to ", last)));
    }
  }
  if (!co_await exchange.Begin(EventStreamHead())) co_return;
  std::string out;
  Deadline ping_due = NextPing(lines, std::chrono::steady_clock::now());
  while (!exchange.gone()) {
    next = stream->Look(seq);
    for (; next.event != nullptr && out.size() < kMaxSendBytes; next = stream->Look(++seq))
      writer.Append(*next.event, &out);
    const bool is_over = next.event == nullptr && next.end.has_value();
    if (is_over) writer.AppendTail(seq - 1, *next.end, from, &out);
    const bool is_there = co_await SendOrSleep(exchange, lines, is_over, &ping_due, &out);
    if (!is_there) co_return;
    if (is_over) co_return co_await exchange.End();
  }
}

boost::asio::awaitable<bool> AnswerHandler::SendOrSleep(Exchange& exchange,
                                                        EventWriter::Lines lines,
                                                        bool is_over,
                                                        Deadline* ping_due,
                                                        std::string* out) const {
  const auto now = std::chrono::steady_clock::now();
  if (out->empty() && !is_over && now >= *ping_due) *out = EventWriter::kPing;
  if (out->empty()) {
    if (!is_over) co_await exchange.Sleep(*ping_due);
    co_return true;
  }
  const bool was_sent = co_await exchange.Send(*out);
  out->clear();
  *ping_due = NextPing(lines, now);
  co_return was_sent;
}

Deadline AnswerHandler::NextPing(EventWriter::Lines lines, Deadline now) const {
  return lines == EventWriter::Lines::kDataOnly ? Deadline::max() : now + parts_.ping_interval;
}

}  // namespace longhand::http
