// Documents that begin and end side by side, and those of an earlier coordinator, whose calls wait
// for an engine that does not run.
#include "coordinator/documents/documents.h"

#include <gtest/gtest.h>

#include "coordinator/api/request_restorer.h"
#include "coordinator/journal/entry.h"
#include "tests/testing/tokenizer_data.h"

namespace longhand::documents {
namespace {

using api::EventStream;

constexpr int64_t kMaxModelLen = 4096;

struct NoWorkers final : engine::StepExecutor {
  void PutImage(int64_t, const engine::ImageInput&) override {}
  void Execute(StepPlan) override {}
  void AbandonGroup(int64_t, const Status&) override {}
};

struct NoTexts final : engine::TextStateFactory {
  std::unique_ptr<engine::TextState> Create(const std::vector<std::string>&,
                                            int64_t) const override {
    return nullptr;
  }
};

struct OpenGate final : engine::DeliveryGate {
  Status CheckAdmission() const override { return OkStatus(); }
  bool IsFull() const override { return false; }
};

struct Reader final : EventStream::Reader {
  explicit Reader(std::function<void()> more = nullptr) : on_more(std::move(more)) {}
  void OnMore() override {
    if (on_more) std::exchange(on_more, nullptr)();
  }
  std::function<void()> on_more;
};

class DocumentsTest : public ::testing::Test {
 protected:
  DocumentsTest() {
    config_.vocab_size = 1100;
    router_.Join(engine_);
  }

  static v1::WriteDocumentRequest Request() {
    v1::WriteDocumentRequest request;
    request.set_request_id("d");
    request.set_instruction("Write about the mill.");
    request.set_plan(
        "Section 1 - Main Point: the mill - Word Count: 3\n"
        "Section 2 - Main Point: the town - Word Count: 2");
    return request;
  }
  std::shared_ptr<EventStream> Begin() {
    return documents_.FollowOrBegin(Request(), {.request_id = "d"}).value();
  }
  static std::optional<Status> EndOf(const EventStream& stream) {
    return stream.Look(stream.num_events() + 1).end;
  }

  ManualClock clock_;
  NoWorkers workers_;
  NoTexts texts_;
  OpenGate gate_;
  ModelConfig config_;
  const shim::Tokenizer tokenizer_ = testing::LoadTestTokenizer();
  const shim::ChatTemplate chat_template_ =
      std::move(shim::ChatTemplate::Load(testing::TokenizerData())).value();
  const input::PromptEncoder encoder_{
      tokenizer_, chat_template_, {.vocab_size = 1100, .max_model_len = kMaxModelLen}};
  const input::ImageProcessor images_{config_.vision, {}, {}};
  const api::RequestPreparer preparer_{config_,
                                       encoder_,
                                       images_,
                                       {.served_model_name = "nano",
                                        .max_model_len = [] { return kMaxModelLen; },
                                        .draw_seed = [] { return uint64_t{1}; }}};
  engine::Router router_;
  engine::Engine engine_{{.max_model_len = kMaxModelLen},
                         {.executor = workers_,
                          .text = texts_,
                          .clock = clock_,
                          .metrics = NoMetrics(),
                          .gate = gate_}};
  api::StreamTable streams_;
  api::RequestIntake intake_{{.preparer = preparer_,
                              .tokenizer = tokenizer_,
                              .router = router_,
                              .streams = streams_,
                              .max_bytes_in_preparation = 1 << 20,
                              .metrics = NoMetrics()}};
  api::InputPool pool_{1, 16};
  Documents documents_{{.intake = intake_,
                        .pool = pool_,
                        .out = {streams_},
                        .max_documents = 2,
                        .max_bytes = 1 << 20,
                        .clock = clock_,
                        .metrics = NoMetrics()}};
};

// Its id is free before its last word.
TEST_F(DocumentsTest, ADocumentThatEndsLeavesTheNextOneOfItsIdAlone) {
  const std::shared_ptr<EventStream> first = Begin();
  std::shared_ptr<EventStream> second;
  const auto reader = std::make_shared<Reader>([&] { second = Begin(); });
  first->Join(reader);
  EXPECT_TRUE(first->Cancel());
  EXPECT_EQ(EndOf(*first)->code(), StatusCode::kCancelled);
  ASSERT_NE(second, nullptr);
  ASSERT_NE(second, first);
  EXPECT_FALSE(EndOf(*second).has_value());
  bool is_idle = false;
  documents_.WhenIdle([&] { is_idle = true; });
  EXPECT_FALSE(is_idle) << "the second is being written";
  EXPECT_TRUE(second->Cancel());
  EXPECT_TRUE(is_idle);
}

class RestoredDocumentsTest : public DocumentsTest {
 protected:
  RestoredDocumentsTest() {
    journal::v1::RequestRecord document, call;
    *document.mutable_document() = Request();
    call.mutable_request()->set_request_id("d/section-2");
    call.mutable_request()->set_text("Write.");
    call.mutable_request()->mutable_sampling()->set_max_tokens(8);
    restorer_.BeginStreams({{.request_id = "d", .payload = document.SerializeAsString()},
                            {.request_id = "d/section-2", .payload = call.SerializeAsString()}});
    document_ = streams_.Find("d", "");
    call_ = streams_.Find("d/section-2", "");
  }

  void ExpectCancelled() {
    for (const auto& stream : {document_, call_}) {
      ASSERT_TRUE(EndOf(*stream).has_value()) << stream->identity().request_id;
      EXPECT_EQ(EndOf(*stream)->code(), StatusCode::kCancelled);
    }
    restorer_.Restore();
    for (const char* id : {"d", "d/section-1", "d/section-2"})
      EXPECT_EQ(streams_.Find(id, ""), nullptr);
    bool is_idle = false;
    documents_.WhenIdle([&] { is_idle = true; });
    EXPECT_TRUE(is_idle);
  }

  api::AdapterTable adapters_{
      {.model = config_, .served_model_name = "nano", .metrics = NoMetrics()}};
  api::RequestRestorer restorer_{{.preparer = preparer_,
                                  .router = router_,
                                  .streams = streams_,
                                  .documents = documents_,
                                  .adapters = adapters_,
                                  .is_ready = [] { return true; },
                                  .clock = clock_,
                                  .metrics = NoMetrics()}};
  std::shared_ptr<EventStream> document_, call_;
};

TEST_F(RestoredDocumentsTest, BeforeItIsTakenUpADocumentCanBeCancelled) {
  EXPECT_TRUE(document_->Cancel());
  ExpectCancelled();
}

TEST_F(RestoredDocumentsTest, BeforeItIsTakenUpADocumentEndsWithItsLastReader) {
  const auto reader = std::make_shared<Reader>();
  document_->Join(reader);
  document_->Leave(*reader);
  ExpectCancelled();
}

TEST_F(RestoredDocumentsTest, TakenUpItCanBeCancelledToo) {
  restorer_.Restore();
  EXPECT_NE(streams_.Find("d/section-1", ""), nullptr);
  EXPECT_FALSE(EndOf(*document_).has_value());
  EXPECT_TRUE(document_->Cancel());
  EXPECT_EQ(EndOf(*document_)->code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace longhand::documents
