// From the engine's word to what a reader may see: streams, their table, the sink and the journal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/api/event_stream.h"
#include "coordinator/api/request_record.h"
#include "coordinator/api/stored_stream.h"
#include "coordinator/api/stream_sink.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/journal/reader.h"
#include "tests/testing/temp_directory.h"

namespace longhand::api {
namespace {

using ::testing::HasSubstr;

v1::GenerateEvent Event(int64_t seq) {
  v1::GenerateEvent event;
  event.set_seq(seq);
  event.set_text(std::to_string(seq));
  return event;
}

struct CountingReader final : EventStream::Reader {
  void OnMore() override { ++num_calls; }
  int num_calls = 0;
};

TEST(EventStream, ShowsEveryReaderTheSameEventsAndTheEnd) {
  EventStream stream({"a", ""});
  const auto reader = std::make_shared<CountingReader>();
  EXPECT_EQ(stream.Look(1).event, nullptr);
  stream.Join(reader);
  stream.Publish(Event(1));
  stream.Publish(Event(2));
  stream.End(OkStatus());
  stream.End(Cancelled("too late"));
  EXPECT_EQ(reader->num_calls, 3);
  EXPECT_EQ(stream.Look(2).event->text(), "2");
  EXPECT_EQ(stream.Look(3).event, nullptr);
  EXPECT_EQ(stream.Look(3).end, OkStatus());
}

TEST(EventStream, IsAbandonedWhenTheLastReaderLeavesBeforeTheEnd) {
  EventStream stream({"a", ""});
  int num_abandoned = 0;
  stream.SetAbandon([&] { ++num_abandoned; });
  const auto first = std::make_shared<CountingReader>();
  const auto second = std::make_shared<CountingReader>();
  stream.Join(first);
  stream.Join(second);
  stream.Leave(*first);
  stream.Leave(*first);
  EXPECT_EQ(num_abandoned, 0);
  stream.Leave(*second);
  EXPECT_EQ(num_abandoned, 1);
  stream.Join(first);
  stream.End(OkStatus());
  stream.Leave(*first);
  EXPECT_EQ(num_abandoned, 1);
}

TEST(EventStream, WaitsForLostReadersUntilTheyAreDue) {
  ManualClock clock;
  int num_abandoned = 0;
  const auto make = [&] {
    auto stream = std::make_unique<EventStream>(EventStream::Identity{"a", ""});
    stream->SetAbandon([&] { ++num_abandoned; });
    stream->ExpectReader(clock.Now() + std::chrono::seconds(60));
    return stream;
  };
  const auto joined = make(), alone = make();
  joined->Join(std::make_shared<CountingReader>());
  clock.Advance(std::chrono::seconds(59));
  alone->AbandonIfUnread(clock.Now());
  EXPECT_EQ(num_abandoned, 0);
  clock.Advance(std::chrono::seconds(1));
  joined->AbandonIfUnread(clock.Now());
  EXPECT_EQ(num_abandoned, 0);
  alone->AbandonIfUnread(clock.Now());
  alone->AbandonIfUnread(clock.Now());
  EXPECT_EQ(num_abandoned, 1);
}

TEST(StreamTable, AnIdIsOneRequests) {
  StreamTable table;
  const Result<StreamTable::Begun> first = table.Begin({"a", "digest"});
  const Result<StreamTable::Begun> again = table.Begin({"a", "digest"});
  EXPECT_TRUE(first->is_new);
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->stream, first->stream);
  EXPECT_EQ(table.Begin({"a", "other"}).status().code(), StatusCode::kAlreadyExists);
  table.Remove(EventStream({"a", "digest"}));  // not that one
  EXPECT_EQ(table.Find("a", ""), first->stream);
  table.Remove(*first->stream);
  EXPECT_EQ(table.Find("a", ""), nullptr);
  EXPECT_TRUE(table.Begin({"a", "other"})->is_new);
}

TEST(StreamTable, AStreamIsItsOwners) {
  StreamTable table;
  const EventStream::Identity of_alice{.request_id = "a", .sent_digest = "d", .owner = "alice"};
  const EventStream::Identity of_bob{.request_id = "a", .sent_digest = "d", .owner = "bob"};
  const Result<StreamTable::Begun> first = table.Begin(of_alice);
  EXPECT_EQ(table.Begin(of_bob).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(table.Find("a", "alice"), first->stream);
  EXPECT_EQ(table.Find("a", "bob"), nullptr);
  EXPECT_EQ(table.Find("a", ""), nullptr);
}

TEST(RequestRecord, EqualRequestsHaveOneDigest) {
  v1::GenerateRequest request;
  request.set_text("Write.");
  journal::v1::AnswerForm form;
  const std::string digest = DigestOf(request, form);
  EXPECT_EQ(digest.size(), 32u);
  form.set_created(1764190000);
  EXPECT_EQ(DigestOf(request, form), digest);
  form.set_include_usage(true);
  EXPECT_NE(DigestOf(request, form), digest);
  request.mutable_sampling()->set_seed(1);
  EXPECT_NE(DigestOf(request, {}), digest);
}

// Biases are a map, whose order is nobody's.
TEST(RequestRecord, DigestsDoNotDependOnTheOrderOfBiases) {
  v1::GenerateRequest up, down;
  for (int32_t id = 0; id < 40; ++id) {
    (*up.mutable_sampling()->mutable_logit_bias())[id] = 1;
    (*down.mutable_sampling()->mutable_logit_bias())[39 - id] = 1;
  }
  EXPECT_EQ(DigestOf(up, {}), DigestOf(down, {}));
  (*down.mutable_sampling()->mutable_logit_bias())[7] = 2;
  EXPECT_NE(DigestOf(up, {}), DigestOf(down, {}));
}

TEST(RequestRecord, LeavesNothingOpen) {
  engine::Request prepared{.request_id = "a", .max_tokens = 8192, .num_choices = 2};
  prepared.sampling = {.temperature = 0.6f, .top_p = 0.95f, .seed = 7};
  v1::GenerateRequest wire;
  wire.set_text("Write.");
  wire.mutable_sampling()->add_stop("END");
  (*wire.mutable_sampling()->mutable_logit_bias())[5] = -100;
  const v1::GenerateRequest resolved = Resolve(wire, prepared, "longwriter");
  EXPECT_EQ(resolved.request_id(), "a");
  EXPECT_EQ(resolved.model(), "longwriter");
  EXPECT_EQ(resolved.text(), "Write.");
  const v1::Sampling& sampling = resolved.sampling();
  EXPECT_EQ(sampling.stop(0), "END");
  EXPECT_EQ(sampling.logit_bias().at(5), -100);
  EXPECT_EQ(sampling.temperature(), 0.6f);
  EXPECT_EQ(sampling.seed(), 7u);
  EXPECT_EQ(sampling.max_tokens(), 8192);
  EXPECT_EQ(sampling.n(), 2u);
  EXPECT_TRUE(sampling.has_top_k() && sampling.has_min_p() && sampling.has_repetition_penalty());
}

class StreamSinkTest : public ::testing::Test {
 protected:
  std::unique_ptr<StreamSink> MakeSink(const std::string& record) {
    v1::Return wanted;
    return std::make_unique<StreamSink>(StreamSink::Parts{table_, &journal_}, stream_,
                                        EventContext{.request_id = "a", .wanted = wanted}, record);
  }
  static std::string Record() {
    journal::v1::RequestRecord record;
    record.mutable_request()->set_request_id("a");
    record.set_sent_digest("digest");
    return record.SerializeAsString();
  }
  StoredStream Kept() {
    return StoredStream::Parse(**journal::ReadRequest(directory_.path(), "a")).value();
  }

  const testing::TempDirectory directory_;
  StreamTable table_;
  const std::shared_ptr<EventStream> stream_ = table_.Begin({"a", "digest"})->stream;
  journal::Journal journal_{
      {}, journal::Store::Open(directory_.path(), journal::Sync::kProcess).value(), NoMetrics()};
};

TEST_F(StreamSinkTest, WhatIsSeenIsKeptAndTokenIdsAreKeptUnseen) {
  const auto sink = MakeSink(Record());
  EXPECT_FALSE(stream_->Look(1).accepted);
  sink->OnAccepted();
  sink->OnEvent({.seq = 1, .text = "one", .token_ids = {11}});
  sink->OnEvent({.seq = 2, .text = "two", .token_ids = {12}});
  sink->OnEnd(OkStatus());
  journal_.Stop();
  EXPECT_EQ(table_.Find("a", ""), nullptr);
  EXPECT_TRUE(stream_->Look(1).accepted);
  EXPECT_EQ(stream_->Look(2).event->text(), "two");
  EXPECT_EQ(stream_->Look(2).event->token_ids_size(), 0);
  EXPECT_EQ(stream_->Look(3).end, OkStatus());
  const StoredStream kept = Kept();
  EXPECT_EQ(kept.identity().sent_digest, "digest");
  EXPECT_EQ(kept.end, OkStatus());
  ASSERT_EQ(kept.events.size(), 2u);
  EXPECT_EQ(kept.events[1].token_ids(0), 12);
  EventStream again(kept.identity());
  kept.Fill(&again);
  EXPECT_EQ(again.Look(1).event->SerializeAsString(), stream_->Look(1).event->SerializeAsString());
}

TEST_F(StreamSinkTest, ARefusalIsToldAndNotKept) {
  MakeSink(Record())->OnEnd(ResourceExhausted("8 wait"));
  EXPECT_EQ(stream_->Look(1).end, ResourceExhausted("8 wait"));
  EXPECT_FALSE(stream_->Look(1).accepted);
  EXPECT_EQ(table_.Find("a", ""), nullptr);
  journal_.Stop();
  EXPECT_FALSE(journal::ReadRequest(directory_.path(), "a")->has_value());
}

TEST_F(StreamSinkTest, AfterAStopNothingIsSeenAnyMore) {
  const auto sink = MakeSink(Record());
  sink->OnAccepted();
  sink->OnEvent({.seq = 1});
  journal_.Stop();
  sink->OnEvent({.seq = 2});
  EXPECT_EQ(stream_->num_events(), 1);
  EXPECT_EQ(Kept().events.size(), 1u);
  EXPECT_FALSE(Kept().end.has_value());
}

TEST(JournalGate, WithoutAJournalIsOpen) {
  const JournalGate gate(nullptr);
  EXPECT_TRUE(gate.CheckAdmission().ok());
  EXPECT_FALSE(gate.IsFull());
}

TEST(StoredStream, APayloadThatIsNoRecordIsSaid) {
  const auto parsed = StoredStream::Parse({.request_id = "a", .payload = "\xff\xff"});
  EXPECT_THAT(
      parsed.status().ToString(),
      HasSubstr("DATA_LOSS: a record of request 'a' is no longhand.journal.v1.RequestRecord"));
}

}  // namespace
}  // namespace longhand::api
