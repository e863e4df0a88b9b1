#include "coordinator/http/event_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/tokenizer_data.h"

namespace longhand::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class EventWriterTest : public ::testing::Test {
 protected:
  static AnswerHead Head(journal::v1::AnswerForm::Kind kind, bool include_usage = false) {
    AnswerHead head{.request_id = "a", .model = "m"};
    head.form.set_kind(kind);
    head.form.set_created(7);
    head.form.set_include_usage(include_usage);
    return head;
  }
  static AnswerHead Chat(bool include_usage = false) {
    return Head(journal::v1::AnswerForm::KIND_CHAT_COMPLETION, include_usage);
  }
  // Two answers, whose events alternate.
  static std::vector<v1::GenerateEvent> Events(int num_events) {
    std::vector<v1::GenerateEvent> events(static_cast<size_t>(num_events));
    for (int i = 0; i < num_events; ++i) {
      v1::GenerateEvent& event = events[static_cast<size_t>(i)];
      event.set_seq(i + 1);
      event.set_choice(static_cast<uint32_t>(i % 2));
      event.set_text("\u8bcd" + std::to_string(i));
      v1::Logprob* logprob = event.add_logprobs();
      logprob->set_token_id(i);
      logprob->set_logprob(-0.5f);
      logprob->add_top()->set_token_id(i);
    }
    v1::GenerateEvent& last = events.back();
    last.set_finish_reason(v1::FINISH_REASON_LENGTH);
    last.set_finish_detail("max_tokens");
    last.mutable_usage()->set_completion_tokens(num_events);
    last.mutable_usage()->set_cached_tokens(2);
    return events;
  }
  std::string WriteFrom(const AnswerHead& head,
                        const std::vector<v1::GenerateEvent>& events,
                        const Status& end,
                        int64_t from,
                        EventWriter::Lines lines = EventWriter::Lines::kAll) const {
    EventWriter writer(head, tokenizer_, lines);
    std::string out;
    for (const v1::GenerateEvent& event : events) {
      if (event.seq() < from) {
        writer.Skip(event);
      } else {
        writer.Append(event, &out);
      }
    }
    writer.AppendTail(static_cast<int64_t>(events.size()), end, from, &out);
    return out;
  }

  const shim::Tokenizer tokenizer_ = testing::LoadTestTokenizer();
};

TEST_F(EventWriterTest, EventsMayBeOneLine) {
  std::string bare = WriteFrom(Chat(true), Events(3), OkStatus(), 1);
  for (int id = 1; id <= 5; ++id) {
    const std::string line = "id: " + std::to_string(id) + "\n";
    ASSERT_NE(bare.find(line), std::string::npos);
    bare.erase(bare.find(line), line.size());
  }
  EXPECT_EQ(WriteFrom(Chat(true), Events(3), OkStatus(), 1, EventWriter::Lines::kDataOnly), bare);
}

TEST_F(EventWriterTest, AChunkHasOpenAisShape) {
  v1::GenerateEvent event;
  event.set_seq(1);
  event.set_text("Hi");
  EXPECT_EQ(
      WriteFrom(Chat(), {event}, OkStatus(), 1),
      "id: 1\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":"
      "\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
      "\"logprobs\":null,\"finish_reason\":null}]}\n\nid: 2\ndata: [DONE]\n\n");
  EXPECT_EQ(
      WriteFrom(Head(journal::v1::AnswerForm::KIND_TEXT_COMPLETION), {event}, OkStatus(), 1),
      "id: 1\ndata: {\"id\":\"a\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
      "\"choices\":[{\"index\":0,\"text\":\"Hi\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
      "id: 2\ndata: [DONE]\n\n");
}

// Role, text offsets and usage are functions of the events before.
TEST_F(EventWriterTest, WhoComesBackGetsTheRestOfTheSameBytes) {
  for (const auto kind : {journal::v1::AnswerForm::KIND_CHAT_COMPLETION,
                          journal::v1::AnswerForm::KIND_TEXT_COMPLETION}) {
    for (const bool include_usage : {false, true}) {
      for (const Status& end : {OkStatus(), Internal("broken")}) {
        const AnswerHead head = Head(kind, include_usage);
        const std::vector<v1::GenerateEvent> events = Events(9);
        const std::string whole = WriteFrom(head, events, end, 1);
        for (int64_t from = 1; from <= 12; ++from) {
          const size_t at = whole.find("id: " + std::to_string(from) + "\n");
          EXPECT_EQ(WriteFrom(head, events, end, from),
                    at == std::string::npos ? "" : whole.substr(at))
              << from;
        }
      }
    }
  }
}

TEST_F(EventWriterTest, UsageComesOnceBeforeTheEndAndOnlyWhenAsked) {
  const std::string with = WriteFrom(Chat(true), Events(3), OkStatus(), 1);
  EXPECT_THAT(
      with, HasSubstr("id: 4\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\","
                      "\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens"
                      "\":0,\"completion_tokens\":3,\"total_tokens\":0,"
                      "\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\nid: 5\ndata: [DONE]"));
  EXPECT_THAT(with, HasSubstr("\"usage\":null"));
  EXPECT_THAT(WriteFrom(Chat(), Events(3), OkStatus(), 1), Not(HasSubstr("usage")));
}

// Ids are there to be counted, and shown to whom they were promised.
TEST_F(EventWriterTest, UsageSoFarIsInEveryChunkWhenAsked) {
  AnswerHead head = Chat(true);
  head.form.set_continuous_usage(true);
  head.form.set_hides_token_ids(true);
  head.form.set_hides_prompt_token_ids(true);
  std::vector<v1::GenerateEvent> events = Events(3);
  for (v1::GenerateEvent& event : events) event.mutable_token_ids()->Add(5);
  events[0].mutable_prompt_token_ids()->Resize(4, 6);
  events[2].mutable_usage()->set_prompt_tokens(4);
  events[2].mutable_usage()->set_total_tokens(7);
  const std::string hidden = WriteFrom(head, events, OkStatus(), 1);
  EXPECT_THAT(
      hidden,
      HasSubstr("\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1,\"total_tokens\":5}}"));
  EXPECT_THAT(
      hidden,
      HasSubstr("\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2,\"total_tokens\":6"));
  EXPECT_THAT(
      hidden,
      HasSubstr("\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":3,\"total_tokens\":7"));
  EXPECT_THAT(hidden, Not(HasSubstr("token_ids")));
  EXPECT_EQ(WriteFrom(head, events, OkStatus(), 2), hidden.substr(hidden.find("id: 2\n")));
  head.form.set_hides_token_ids(false);
  const std::string shown = WriteFrom(head, events, OkStatus(), 1);
  EXPECT_THAT(shown, HasSubstr("\"token_ids\":[5]"));
  EXPECT_THAT(shown, Not(HasSubstr("prompt_token_ids")));
}

TEST_F(EventWriterTest, AnErrorEndsTheStreamWithoutDone) {
  const std::string out = WriteFrom(Chat(true), Events(2), Internal("broken"), 1);
  EXPECT_THAT(
      out, HasSubstr("id: 3\ndata: {\"error\":{\"message\":\"broken\",\"type\":\"server_error\""));
  EXPECT_THAT(out, Not(HasSubstr("[DONE]")));
}

// The stream goes on with the next coordinator: the word in between takes no number.
TEST_F(EventWriterTest, ACoordinatorThatStopsLeavesTheNumbersAlone) {
  EXPECT_THAT(WriteFrom(Chat(), Events(2), Unavailable("stopping"), 1),
              HasSubstr("id: 2\ndata: {\"error\":"));
  EXPECT_THAT(WriteFrom(Chat(), Events(2), Unavailable("stopping"), 3),
              HasSubstr("id: 2\ndata: {\"error\":"));
}

TEST_F(EventWriterTest, AWholeAnswerJoinsTheEventsOfEachChoice) {
  std::vector<v1::GenerateEvent> events = Events(4);
  events[2].set_finish_reason(v1::FINISH_REASON_STOP);
  events[2].set_finish_detail("eos");
  std::vector<const v1::GenerateEvent*> pointers;
  for (const v1::GenerateEvent& event : events) pointers.push_back(&event);
  const boost::json::object answer = WholeAnswerJson(Chat(), tokenizer_, pointers);
  const boost::json::array& choices = answer.at("choices").as_array();
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0].at("message").at("content").as_string(), "\u8bcd0\u8bcd2");
  EXPECT_EQ(choices[0].at("finish_reason").as_string(), "stop");
  EXPECT_EQ(choices[1].at("finish_reason").as_string(), "length");
  EXPECT_EQ(choices[1].at("longhand").at("finish_detail").as_string(), "max_tokens");
  EXPECT_EQ(choices[1].at("logprobs").at("content").as_array().size(), 2u);
  EXPECT_EQ(answer.at("usage").at("completion_tokens").as_int64(), 4);
}

TEST_F(EventWriterTest, ADocumentsEventsAreItsSteps) {
  std::vector<v1::GenerateEvent> events(2);
  events[0].set_seq(1);
  events[0].set_text("One");
  events[1].set_seq(2);
  events[1].set_finish_reason(v1::FINISH_REASON_STOP);
  events[1].set_finish_detail("document_written");
  const std::string out =
      WriteFrom(Head(journal::v1::AnswerForm::KIND_DOCUMENT), events, OkStatus(), 1);
  EXPECT_THAT(out,
              HasSubstr("id: 1\ndata: {\"id\":\"a\",\"object\":\"document.chunk\",\"created\":7,"
                        "\"model\":\"m\",\"text\":\"One\"}\n\n"));
  EXPECT_THAT(out, HasSubstr("\"finish_reason\":\"stop\",\"usage\":{"));
  EXPECT_THAT(out, HasSubstr("id: 3\ndata: [DONE]\n\n"));
  EXPECT_THAT(WriteFrom(Head(journal::v1::AnswerForm::KIND_DOCUMENT), events, OkStatus(), 2),
              Not(HasSubstr("One")));
}

}  // namespace
}  // namespace longhand::http
