// AnswerHandler: requests for answers, and streams that clients come back to. I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/api/api_keys.h"
#include "coordinator/api/document_desk.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_intake.h"
#include "coordinator/http/answer_request.h"
#include "coordinator/http/event_writer.h"
#include "coordinator/http/exchange.h"
#include "coordinator/http/image_fetcher.h"

namespace longhand::http {

// The name of the request's key; errors as ApiKeys::Check.
inline Result<std::string> NameCaller(const api::ApiKeys& keys, const Request& request) {
  const std::string* authorization = request.FindHeader("authorization");
  return keys.Check(authorization == nullptr ? "" : *authorization);
}

class AnswerHandler {
 public:
  struct Parts {
    api::RequestIntake& intake;
    api::DocumentDesk& documents;
    api::InputPool& pool;
    const api::ApiKeys& keys;
    api::InputPool* fetch_pool = nullptr;  // none: pictures elsewhere are not fetched
    const ImageFetcher* fetcher = nullptr;
    std::chrono::milliseconds ping_interval = std::chrono::seconds(5);
  };
  explicit AnswerHandler(Parts parts) : parts_(parts) {}

  boost::asio::awaitable<void> Chat(Exchange& exchange);
  boost::asio::awaitable<void> Complete(Exchange& exchange);
  boost::asio::awaitable<void> Document(Exchange& exchange);
  // GET /v1/streams/ID?from=N.
  boost::asio::awaitable<void> Attach(Exchange& exchange, std::string request_id);
  // DELETE /v1/streams/ID: ends the request for all who follow it.
  boost::asio::awaitable<void> Cancel(Exchange& exchange, std::string request_id);

 private:
  using Parse = Status (*)(const boost::json::object&, AnswerRequest*);
  using Stream = std::shared_ptr<api::EventStream>;

  static constexpr size_t kMaxSendBytes = 64 * 1024;

  boost::asio::awaitable<void> Answer(Exchange& exchange, Parse parse);
  class FetchedBytes;
  boost::asio::awaitable<Status> FetchImages(Exchange& exchange,
                                             AnswerRequest* request,
                                             FetchedBytes* fetched);
  boost::asio::awaitable<void> SendWhole(Exchange& exchange,
                                         Stream stream,
                                         std::string constraint_field);
  boost::asio::awaitable<void> SendEvents(Exchange& exchange,
                                          Stream stream,
                                          int64_t from,
                                          EventWriter::Lines lines,
                                          std::string constraint_field);
  // Sends what there is, or waits until there may be more, and pings meanwhile. False: nobody is
  // there any more.
  boost::asio::awaitable<bool> SendOrSleep(Exchange& exchange,
                                           EventWriter::Lines lines,
                                           bool is_over,
                                           Deadline* ping_due,
                                           std::string* out) const;
  // After something was sent at `now`.
  Deadline NextPing(EventWriter::Lines lines, Deadline now) const;
  static Response EventStreamHead();
  AnswerHead HeadOf(const api::EventStream& stream) const;

  // Several prompts (answers_together.cc): each is a request of its own, and all end with the
  // exchange.
  boost::asio::awaitable<void> AnswerTogether(Exchange& exchange,
                                              AnswerRequest& request,
                                              const api::RequestIntake::Call& call);
  boost::asio::awaitable<void> SendWholeTogether(Exchange& exchange,
                                                 const std::vector<Stream>& streams,
                                                 const AnswerHead& head,
                                                 uint32_t num_choices);
  boost::asio::awaitable<void> SendEventsTogether(Exchange& exchange,
                                                  const std::vector<Stream>& streams,
                                                  const AnswerHead& head,
                                                  uint32_t num_choices,
                                                  EventWriter::Lines lines);

  const Parts parts_;
};

}  // namespace longhand::http
