// A document's calls, one after another, with streams that the test writes by hand.
#include "coordinator/documents/document_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>

namespace longhand::documents {
namespace {

using api::EventStream;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kPlan =
    "Section 1 - Main Point: the mill - Word Count: 3\n"
    "Section 2 - Main Point: the town - Word Count: 2";

v1::GenerateEvent TextEvent(int64_t seq, const std::string& text) {
  v1::GenerateEvent event;
  event.set_seq(seq);
  event.set_text(text);
  return event;
}

class DocumentWriterTest : public ::testing::Test {
 protected:
  static v1::WriteDocumentRequest Request() {
    v1::WriteDocumentRequest request;
    request.set_request_id("d");
    request.set_instruction("Write about the mill.");
    request.mutable_sampling()->set_temperature(0.6f);
    return request;
  }

  // A coordinator's writer; `stream` has what is stored.
  void Start(const std::shared_ptr<EventStream>& stream, bool is_taken = false) {
    stream_ = stream;
    DocumentWriter::Parts parts{
        .begin_call = [this](const v1::GenerateRequest& call,
                             const std::string& owner) -> Result<std::shared_ptr<EventStream>> {
          EXPECT_EQ(owner, "alice");
          calls_.push_back(call.request_id());
          if (!refusals_.empty()) {
            auto refused = std::make_shared<EventStream>(EventStream::Identity{call.request_id()});
            refused->End(refusals_.front());
            refusals_.pop_front();
            return refused;
          }
          std::shared_ptr<EventStream>& kept = streams_[call.request_id()];
          if (kept == nullptr)
            kept = std::make_shared<EventStream>(EventStream::Identity{call.request_id()});
          return kept;
        },
        .cancel_call = [this](const std::string& id,
                              const std::string&) { cancelled_.push_back(id); },
        .run_on_pool =
            [this](std::function<void()> job) {
              if (pool_is_full_) return ResourceExhausted("full");
              jobs_.push_back(std::move(job));
              return OkStatus();
            },
        .clock = clock_,
        .on_over = [this](const DocumentSummary& summary) { over_.push_back(summary); }};
    writer_ = std::make_shared<DocumentWriter>(
        parts, DocumentScript(Request(), counter_), stream,
        api::RecordedStream({table_}, stream, is_taken ? "" : "record"), is_taken);
    writer_->Begin();
    RunJobs();
  }
  static std::shared_ptr<EventStream> NewStream() {
    return std::make_shared<EventStream>(
        EventStream::Identity{.request_id = "d", .owner = "alice"});
  }
  void RunJobs() {
    while (!jobs_.empty()) {
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      job();
    }
  }
  void Advance(Duration by) {
    clock_.Advance(by);
    writer_->LookAround(clock_.Now());
    RunJobs();
  }
  EventStream& Call(const std::string& id) {
    std::shared_ptr<EventStream>& stream = streams_[id];
    if (stream == nullptr) stream = std::make_shared<EventStream>(EventStream::Identity{id});
    return *stream;
  }
  // The engine's answer, in two events.
  void Answer(const std::string& id, const std::string& first, const std::string& rest) {
    EventStream& call = Call(id);
    call.Accept();
    call.Publish(TextEvent(1, first));
    v1::GenerateEvent last = TextEvent(2, rest);
    last.set_finish_reason(v1::FINISH_REASON_STOP);
    last.set_finish_detail("eos");
    last.mutable_usage()->set_completion_tokens(2);
    call.Publish(last);
    call.End(OkStatus());
    RunJobs();
  }
  static std::vector<std::string> EventsOf(const EventStream& stream) {
    std::vector<std::string> events;
    for (int64_t seq = 1; seq <= stream.num_events(); ++seq)
      events.push_back(stream.Look(seq).event->ShortDebugString());
    return events;
  }
  std::optional<Status> end() const { return stream_->Look(stream_->num_events() + 1).end; }
  std::string Text() const {
    std::string text;
    for (int64_t seq = 1; seq <= stream_->num_events(); ++seq)
      text += stream_->Look(seq).event->text();
    return text;
  }

  const WordCounter counter_;
  ManualClock clock_;
  api::StreamTable table_;
  std::map<std::string, std::shared_ptr<EventStream>> streams_;
  std::deque<Status> refusals_;
  std::vector<std::string> calls_, cancelled_;
  std::deque<std::function<void()>> jobs_;
  bool pool_is_full_ = false;
  std::vector<DocumentSummary> over_;
  std::shared_ptr<EventStream> stream_;
  std::shared_ptr<DocumentWriter> writer_;
};

TEST_F(DocumentWriterTest, MakesItsCallsOneAfterAnother) {
  Start(NewStream());
  EXPECT_FALSE(stream_->Look(1).accepted);
  Call("d/plan-1").Accept();
  EXPECT_TRUE(stream_->Look(1).accepted);
  Answer("d/plan-1", kPlan.substr(0, 20), kPlan.substr(20));
  EXPECT_THAT(calls_, ElementsAre("d/plan-1", "d/section-1"));
  Answer("d/section-1", "One two", " three.");
  Answer("d/section-2", "Four ", "five.");
  EXPECT_THAT(calls_, ElementsAre("d/plan-1", "d/section-1", "d/section-2"));
  EXPECT_EQ(Text(), "One two three.\n\nFour five.");
  EXPECT_EQ(stream_->Look(1).event->request_id(), "d");
  EXPECT_EQ(end(), OkStatus());
  ASSERT_EQ(over_.size(), 1u);
  EXPECT_EQ(over_[0].num_words, 5);
  EXPECT_EQ(over_[0].num_sections, 2u);
}

TEST_F(DocumentWriterTest, TextIsPassedOnAsItComes) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Call("d/section-1").Accept();
  Call("d/section-1").Publish(TextEvent(1, "One "));
  EXPECT_EQ(Text(), "One");
  Call("d/section-1").Publish(TextEvent(2, "two"));
  EXPECT_EQ(Text(), "One two");
  EXPECT_EQ(writer_->progress().num_words_written, 2);
  EXPECT_EQ(writer_->progress().num_words_planned, 5);
}

TEST_F(DocumentWriterTest, TheFirstCallsRefusalIsTheDocuments) {
  refusals_ = {ResourceExhausted("8 wait").WithRetryAfter(3)};
  Start(NewStream());
  EXPECT_EQ(end(), ResourceExhausted("8 wait").WithRetryAfter(3));
  EXPECT_FALSE(stream_->Look(1).accepted);
  ASSERT_EQ(over_.size(), 1u);
  EXPECT_FALSE(over_[0].was_taken);
}

TEST_F(DocumentWriterTest, LaterRefusalsThatPassAreWaitedFor) {
  Start(NewStream());
  refusals_ = {Unavailable("no group"), Unavailable("no group"),
               ResourceExhausted("full").WithRetryAfter(7)};
  Answer("d/plan-1", kPlan, "");
  EXPECT_EQ(calls_.size(), 2u);
  Advance(std::chrono::milliseconds(199));
  EXPECT_EQ(calls_.size(), 2u);
  Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(calls_.size(), 3u);
  Advance(std::chrono::milliseconds(400));
  EXPECT_EQ(calls_.size(), 4u);
  Advance(std::chrono::milliseconds(6999));
  EXPECT_EQ(calls_.size(), 4u);
  Advance(std::chrono::milliseconds(1));
  EXPECT_THAT(calls_.back(), "d/section-1");
  Answer("d/section-1", "One", ".");
  Answer("d/section-2", "Two", ".");
  EXPECT_EQ(end(), OkStatus());
}

TEST_F(DocumentWriterTest, ACallThatFoundNoPlaceInTimeIsMadeAgainUnderAnotherId) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Call("d/section-1").Accept();
  const int64_t num_events = stream_->num_events();
  Call("d/section-1").End(ResourceExhausted("no place came free in 5 s"));
  Advance(std::chrono::milliseconds(200));
  EXPECT_THAT(calls_, ElementsAre("d/plan-1", "d/section-1", "d/section-1-again-1"));
  Call("d/section-1-again-1").Accept();
  EXPECT_EQ(stream_->num_events(), num_events);  // The section has begun once.
  Answer("d/section-1-again-1", "One", ".");
  EXPECT_EQ(calls_.back(), "d/section-2");
}

// A coordinator was killed between the two records, and the next one found no document for the
// call.
TEST_F(DocumentWriterTest, ACallThatIsKeptWithoutItsDocumentIsMadeAgain) {
  Call("d/plan-1").Accept();
  Call("d/plan-1").End(Cancelled("the document 'd' is over"));
  Start(NewStream());
  Advance(std::chrono::milliseconds(200));
  EXPECT_THAT(calls_, ElementsAre("d/plan-1", "d/plan-1-again-1"));
  EXPECT_EQ(end(), std::nullopt);
}

TEST_F(DocumentWriterTest, AFailureOfACallEndsTheDocument) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Call("d/section-1").Accept();
  Call("d/section-1").Publish(TextEvent(1, "One"));
  Call("d/section-1").End(Internal("it killed its workers"));
  EXPECT_EQ(end(), Internal("section 1 of 2: it killed its workers"));
  EXPECT_EQ(Text(), "One");
  EXPECT_EQ(over_.size(), 1u);
}

TEST_F(DocumentWriterTest, CancellingEndsTheCallThatRuns) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Call("d/section-1").Accept();
  writer_->Cancel(Cancelled("enough"));
  writer_->Cancel(Cancelled("again"));
  EXPECT_EQ(end(), Cancelled("enough"));
  EXPECT_THAT(cancelled_, ElementsAre("d/section-1"));
  Answer("d/section-1", "One", ".");  // on its way already
  EXPECT_EQ(Text(), "");
  EXPECT_EQ(calls_.size(), 2u);
  EXPECT_EQ(over_.size(), 1u);
}

TEST_F(DocumentWriterTest, CancelledBetweenTwoCallsItMakesNoMore) {
  Start(NewStream());
  Call("d/plan-1").Accept();
  v1::GenerateEvent last = TextEvent(1, kPlan);
  last.set_finish_reason(v1::FINISH_REASON_STOP);
  Call("d/plan-1").Publish(last);  // The job waits.
  writer_->Cancel(Cancelled("enough"));
  RunJobs();
  EXPECT_THAT(calls_, ElementsAre("d/plan-1"));
  EXPECT_EQ(stream_->num_events(), 0);
}

TEST_F(DocumentWriterTest, AFullPoolIsAskedAgain) {
  Start(NewStream());
  pool_is_full_ = true;
  Answer("d/plan-1", kPlan, "");
  EXPECT_EQ(calls_.size(), 1u);
  pool_is_full_ = false;
  Advance(std::chrono::milliseconds(100));
  EXPECT_EQ(calls_.size(), 2u);
}

// Kept calls are read again; one that runs goes on; the next is made.
TEST_F(DocumentWriterTest, AfterARestartTheEventsAreTheSame) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Answer("d/section-1", "One two", " three. ");
  Answer("d/section-2", "Four ", "five.");
  const std::vector<std::string> undisturbed = EventsOf(*stream_);
  const std::shared_ptr<EventStream> whole = stream_;
  const auto kept = streams_;
  for (size_t num_stored = 0; num_stored <= undisturbed.size(); ++num_stored) {
    const auto stream = NewStream();
    stream->Accept();
    for (size_t seq = 1; seq <= num_stored; ++seq)
      stream->Publish(*whole->Look(static_cast<int64_t>(seq)).event);
    streams_ = kept;
    Start(stream, /*is_taken=*/true);
    EXPECT_EQ(EventsOf(*stream), undisturbed) << num_stored;
    EXPECT_EQ(end(), OkStatus());
  }
}

TEST_F(DocumentWriterTest, EventsThatWouldBeOthersEndIt) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Answer("d/section-1", "One", " two");
  const std::shared_ptr<EventStream> before = stream_;
  const auto stream = NewStream();
  stream->Accept();
  for (int64_t seq = 1; seq <= before->num_events(); ++seq)
    stream->Publish(*before->Look(seq).event);
  writer_->Abandon();
  streams_.erase("d/section-1");
  Start(stream, /*is_taken=*/true);
  Answer("d/section-1", "Eins", " zwei");
  EXPECT_EQ(end()->code(), StatusCode::kDataLoss);
  EXPECT_THAT(end()->message(), HasSubstr("event 3 of the document"));
}

TEST_F(DocumentWriterTest, AbandonedItSaysNothing) {
  Start(NewStream());
  Answer("d/plan-1", kPlan, "");
  Call("d/section-1").Accept();
  const int64_t num_events = stream_->num_events();
  writer_->Abandon();
  Answer("d/section-1", "One", ".");
  EXPECT_EQ(stream_->num_events(), num_events);
  EXPECT_EQ(end(), std::nullopt);
  EXPECT_THAT(over_, IsEmpty());
}

}  // namespace
}  // namespace longhand::documents
