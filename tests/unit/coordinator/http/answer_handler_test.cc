// Streams that clients come back to, without a socket.
#include "coordinator/http/answer_handler.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "tests/testing/tokenizer_data.h"

namespace longhand::http {
namespace {

class NoDocuments final : public api::DocumentDesk {
  Result<std::shared_ptr<api::EventStream>> FollowOrBegin(const v1::WriteDocumentRequest&,
                                                          api::RequestIntake::Call) override {
    return Unavailable("no document is written here");
  }
  void Restore(const std::shared_ptr<api::EventStream>&,
               const journal::v1::RequestRecord&,
               api::AdapterTable::Held) override {}
};

// The client leaves instead of waiting.
class FakeExchange final : public Exchange {
 public:
  explicit FakeExchange(Request request) : request_(std::move(request)) {}

  Request& request() override { return request_; }
  void ReleaseBody() override {}
  int status() const override { return status_; }
  boost::asio::awaitable<void> Reply(Response response) override {
    status_ = response.status;
    body_ = response.body;
    co_return;
  }
  boost::asio::awaitable<bool> Begin(const Response& head) override {
    status_ = head.status;
    co_return request_.method != "HEAD";
  }
  boost::asio::awaitable<bool> Send(std::string_view part) override {
    body_ += part;
    co_return true;
  }
  boost::asio::awaitable<void> End() override { co_return; }
  void Break() override {}
  bool gone() const override { return gone_; }
  boost::asio::awaitable<void> Sleep(std::optional<Deadline>) override {
    gone_ = true;
    co_return;
  }
  Waker waker() override {
    return [] {};
  }

  const std::string& body() const { return body_; }

 private:
  Request request_;
  int status_ = 0;
  std::string body_;
  bool gone_ = false;
};

class AnswerHandlerTest : public ::testing::Test {
 protected:
  AnswerHandlerTest() {
    stream_->SetAbandon([this] { is_abandoned_ = true; });
    stream_->Accept();
  }

  FakeExchange Attach(const std::string& method, const std::string& from = "1") {
    FakeExchange exchange({.method = method, .query = {{"from", from}}});
    boost::asio::io_context io;
    boost::asio::co_spawn(io, handler_.Attach(exchange, "a"), boost::asio::detached);
    io.run();
    return exchange;
  }

  ModelConfig config_;
  const shim::Tokenizer tokenizer_ = testing::LoadTestTokenizer();
  const shim::ChatTemplate chat_template_ =
      std::move(shim::ChatTemplate::Load(testing::TokenizerData())).value();
  const input::PromptEncoder encoder_{tokenizer_, chat_template_, {}};
  const input::ImageProcessor images_{config_.vision, {}, {}};
  const api::RequestPreparer preparer_{config_, encoder_, images_, {.served_model_name = "nano"}};
  engine::Router router_;
  api::StreamTable streams_;
  api::RequestIntake intake_{{.preparer = preparer_,
                              .tokenizer = tokenizer_,
                              .router = router_,
                              .streams = streams_,
                              .metrics = NoMetrics()}};
  NoDocuments documents_;
  api::InputPool pool_{1, 1};
  const api::ApiKeys keys_;
  AnswerHandler handler_{
      {.intake = intake_, .documents = documents_, .pool = pool_, .keys = keys_}};
  const std::shared_ptr<api::EventStream> stream_ =
      streams_.Begin({.request_id = "a"}).value().stream;
  bool is_abandoned_ = false;
};

TEST_F(AnswerHandlerTest, WhoAsksForTheHeadOfAStreamDoesNotFollowIt) {
  EXPECT_EQ(Attach("HEAD").status(), 200);
  EXPECT_EQ(Attach("HEAD", "3").status(), 400);
  EXPECT_FALSE(is_abandoned_);
  EXPECT_EQ(Attach("GET").status(), 200);
  EXPECT_TRUE(is_abandoned_);
}

TEST_F(AnswerHandlerTest, TheHeadOfAStreamThatWasNotTakenYetIsThereAtOnce) {
  const auto waiting = streams_.Begin({.request_id = "b"}).value().stream;
  FakeExchange exchange({.method = "HEAD"});
  boost::asio::io_context io;
  boost::asio::co_spawn(io, handler_.Attach(exchange, "b"), boost::asio::detached);
  io.run();
  EXPECT_EQ(exchange.status(), 200);
}

}  // namespace
}  // namespace longhand::http
