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
  static std::vector<v1::GenerateEvent> MakeEvents(int num_events) {
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
  std::string bare = WriteFrom(Chat(true), MakeEvents(3), OkStatus(), 1);
  for (int id = 1; id <= 5; ++id) {
    const std::string line = "id: " + std::to_string(id) + "\n";
    ASSERT_NE(bare.find(line), std::string::npos);
    bare.erase(bare.find(line), line.size());
  }
  EXPECT_EQ(WriteFrom(Chat(true), MakeEvents(3), OkStatus(), 1, EventWriter::Lines::kDataOnly),
            bare);
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
        const std::vector<v1::GenerateEvent> events = MakeEvents(9);
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
  const std::string with = WriteFrom(Chat(true), MakeEvents(3), OkStatus(), 1);
  EXPECT_THAT(
      with, HasSubstr("id: 4\ndata: {\"id\":\"a\",\"object\":\"chat.completion.chunk\","
                      "\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens"
                      "\":0,\"completion_tokens\":3,\"total_tokens\":0,"
                      "\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\nid: 5\ndata: [DONE]"));
  EXPECT_THAT(with, HasSubstr("\"usage\":null"));
  EXPECT_THAT(WriteFrom(Chat(), MakeEvents(3), OkStatus(), 1), Not(HasSubstr("usage")));
}

// Ids are there to be counted, and shown to whom they were promised.
TEST_F(EventWriterTest, UsageSoFarIsInEveryChunkWhenAsked) {
  AnswerHead head = Chat(true);
  head.form.set_continuous_usage(true);
  head.form.set_hides_token_ids(true);
  head.form.set_hides_prompt_token_ids(true);
  std::vector<v1::GenerateEvent> events = MakeEvents(3);
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
  const std::string out = WriteFrom(Chat(true), MakeEvents(2), Internal("broken"), 1);
  EXPECT_THAT(
      out, HasSubstr("id: 3\ndata: {\"error\":{\"message\":\"broken\",\"type\":\"server_error\""));
  EXPECT_THAT(out, Not(HasSubstr("[DONE]")));
}

// The stream goes on with the next coordinator: the word in between takes no number.
TEST_F(EventWriterTest, ACoordinatorThatStopsLeavesTheNumbersAlone) {
  EXPECT_THAT(WriteFrom(Chat(), MakeEvents(2), Unavailable("stopping"), 1),
              HasSubstr("id: 2\ndata: {\"error\":"));
  EXPECT_THAT(WriteFrom(Chat(), MakeEvents(2), Unavailable("stopping"), 3),
              HasSubstr("id: 2\ndata: {\"error\":"));
}

TEST_F(EventWriterTest, AWholeAnswerJoinsTheEventsOfEachChoice) {
  std::vector<v1::GenerateEvent> events = MakeEvents(4);
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

// A prompt of four tokens, the third of which ends a character that the second begins, in two
// parts; then two answers of a token each.
class EchoTest : public EventWriterTest {
 protected:
  EchoTest() : events_(4) {
    token_ids_ = tokenizer_.Encode("ab\u8bcd!", shim::ControlTokens::kParse).value();
    for (size_t i = 0; i < 4; ++i) events_[i].set_seq(static_cast<int64_t>(i) + 1);
    events_[0].mutable_prompt_token_ids()->Add(token_ids_.begin(), token_ids_.end());
    for (size_t i = 1; i < token_ids_.size(); ++i) {
      v1::Logprob* logprob = events_[i < 2 ? 0 : 1].add_prompt_logprobs();
      logprob->set_token_id(token_ids_[i]);
      logprob->set_logprob(-1.0f - static_cast<float>(i));
      logprob->add_top()->set_token_id(token_ids_[0]);
      logprob->mutable_top(0)->set_logprob(-0.5f);
    }
    for (uint32_t choice = 0; choice < 2; ++choice) {
      v1::GenerateEvent& event = events_[2 + choice];
      event.set_choice(choice);
      event.set_text(choice == 0 ? "x" : "y");
      event.add_logprobs()->set_token_id(token_ids_[0]);
      event.set_finish_reason(v1::FINISH_REASON_LENGTH);
      event.set_finish_detail("max_tokens");
    }
    events_[3].mutable_usage()->set_prompt_tokens(4);
  }
  static AnswerHead Echo(bool with_logprobs) {
    AnswerHead head = Head(journal::v1::AnswerForm::KIND_TEXT_COMPLETION);
    head.form.set_num_echoes(2);
    head.form.set_echoes_logprobs(with_logprobs);
    head.form.set_hides_prompt_token_ids(true);
    return head;
  }
  Events Pointers() const {
    Events pointers;
    for (const v1::GenerateEvent& event : events_) pointers.push_back(&event);
    return pointers;
  }
  // What the stream's chunks of one answer add up to.
  boost::json::object Joined(const AnswerHead& head, int64_t index) const {
    std::string stream = WriteFrom(head, events_, OkStatus(), 1, EventWriter::Lines::kDataOnly);
    boost::json::object out = {{"text", ""},
                               {"token_logprobs", boost::json::array()},
                               {"text_offset", boost::json::array()}};
    size_t at = 0;
    while ((at = stream.find("data: {", at)) != std::string::npos) {
      const size_t end = stream.find('\n', at);
      const auto chunk = boost::json::parse(stream.substr(at + 6, end - at - 6));
      for (const auto& choice : chunk.at("choices").as_array()) {
        if (choice.at("index").as_int64() != index) continue;
        out["text"].as_string().append(choice.at("text").as_string());
        if (choice.at("logprobs").is_null()) continue;
        for (const char* name : {"token_logprobs", "text_offset"}) {
          for (const auto& value : choice.at("logprobs").at(name).as_array())
            out[name].as_array().push_back(value);
        }
      }
      at = end;
    }
    return out;
  }

  std::vector<int32_t> token_ids_;
  std::vector<v1::GenerateEvent> events_;
};

TEST_F(EchoTest, WholeAnswersBeginWithThePrompt) {
  const boost::json::object answer = WholeAnswerJson(Echo(true), tokenizer_, Pointers());
  const boost::json::array& choices = answer.at("choices").as_array();
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0].at("text").as_string(), "ab\u8bcd!x");
  EXPECT_EQ(choices[1].at("text").as_string(), "ab\u8bcd!y");
  const boost::json::object& logprobs = choices[1].at("logprobs").as_object();
  const size_t num_tokens = token_ids_.size() + 1;
  for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(logprobs.at(name).as_array().size(), num_tokens) << name;
  EXPECT_TRUE(logprobs.at("token_logprobs").at(0).is_null());
  EXPECT_TRUE(logprobs.at("top_logprobs").at(0).is_null());
  EXPECT_EQ(logprobs.at("token_logprobs").at(1).to_number<double>(), -2);
  EXPECT_EQ(logprobs.at("text_offset").as_array().back().as_int64(), 4);
  EXPECT_FALSE(choices[0].as_object().contains("prompt_token_ids"));
  EXPECT_FALSE(choices[0].as_object().contains("prompt_logprobs"));
}

TEST_F(EchoTest, StreamsAddUpToTheWhole) {
  for (const bool with_logprobs : {true, false}) {
    const boost::json::object answer = WholeAnswerJson(Echo(with_logprobs), tokenizer_, Pointers());
    for (int64_t i = 0; i < 2; ++i) {
      const boost::json::object joined = Joined(Echo(with_logprobs), i);
      const boost::json::value& choice = answer.at("choices").at(static_cast<size_t>(i));
      EXPECT_EQ(joined.at("text"), choice.at("text"));
      if (!with_logprobs) continue;
      EXPECT_EQ(joined.at("token_logprobs"), choice.at("logprobs").at("token_logprobs"));
      EXPECT_EQ(joined.at("text_offset"), choice.at("logprobs").at("text_offset"));
    }
  }
}

TEST_F(EchoTest, WhoComesBackGetsTheRestOfTheSameBytes) {
  for (const bool with_logprobs : {true, false}) {
    const std::string whole = WriteFrom(Echo(with_logprobs), events_, OkStatus(), 1);
    for (int64_t from = 2; from <= 5; ++from) {
      const std::string rest = WriteFrom(Echo(with_logprobs), events_, OkStatus(), from);
      EXPECT_EQ(rest, whole.substr(whole.find("id: " + std::to_string(from) + "\n"))) << from;
    }
  }
}

TEST_F(EchoTest, TheShortestPromptHasNoLogProbabilities) {
  events_.erase(events_.begin(), events_.begin() + 2);
  events_[0].set_seq(1);
  events_[1].set_seq(2);
  events_[0].add_prompt_token_ids(token_ids_[0]);
  const boost::json::object answer = WholeAnswerJson(Echo(true), tokenizer_, Pointers());
  const boost::json::value& second = answer.at("choices").at(1);
  EXPECT_EQ(second.at("logprobs").at("token_logprobs").as_array().size(), 2u);
  EXPECT_TRUE(second.at("logprobs").at("token_logprobs").at(0).is_null());
  const boost::json::object joined = Joined(Echo(true), 1);
  EXPECT_EQ(joined.at("text"), second.at("text"));
  EXPECT_EQ(joined.at("token_logprobs"), second.at("logprobs").at("token_logprobs"));
}

TEST_F(EchoTest, PromptLogprobsHaveVllmsShape) {
  AnswerHead head = Chat();
  head.form.set_has_prompt_logprobs(true);
  head.form.set_hides_prompt_token_ids(true);
  const boost::json::object answer = WholeAnswerJson(head, tokenizer_, Pointers());
  const boost::json::array& logprobs = answer.at("prompt_logprobs").as_array();
  ASSERT_EQ(logprobs.size(), token_ids_.size());
  EXPECT_TRUE(logprobs[0].is_null());
  const boost::json::object& second = logprobs[1].as_object();
  ASSERT_EQ(second.size(), 2u);
  const boost::json::value& own = second.at(std::to_string(token_ids_[1]));
  EXPECT_EQ(own.at("logprob").to_number<double>(), -2);
  EXPECT_TRUE(own.at("rank").is_null());
  EXPECT_EQ(second.at(std::to_string(token_ids_[0])).at("rank").as_int64(), 1);
  EXPECT_EQ(answer.at("choices").as_array().size(), 2u);
}

TEST_F(EchoTest, AnswersToSeveralPromptsAreNumberedFromPromptToPrompt) {
  const boost::json::object answer =
      WholeAnswerJson(Echo(true), tokenizer_, std::vector<Events>{Pointers(), Pointers()}, 2);
  const boost::json::array& choices = answer.at("choices").as_array();
  ASSERT_EQ(choices.size(), 4u);
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(choices[static_cast<size_t>(i)].at("index"), i);
  EXPECT_EQ(choices[3].at("text").as_string(), "ab\u8bcd!y");
  EXPECT_EQ(answer.at("usage").at("prompt_tokens").as_int64(), 8);
}

// A half of a character is a token of its own, as others are that are the same text.
TEST_F(EchoTest, OfTokensOfOneTextTheLikeliestIsShown) {
  const std::vector<int32_t> halves =
      tokenizer_.Encode("\U0001F9FF", shim::ControlTokens::kParse).value();
  ASSERT_GT(halves.size(), 1u);
  v1::Logprob logprob;
  logprob.set_token_id(halves[0]);
  logprob.set_logprob(-5);
  v1::TopLogprob* top = logprob.add_top();
  top->set_token_id(halves[1]);
  top->set_logprob(-1);
  TextLogprobs lists;
  lists.Add(tokenizer_, logprob, 0);
  const boost::json::object shown = std::move(lists).ToJson();
  const boost::json::object& only = shown.at("top_logprobs").at(0).as_object();
  ASSERT_EQ(only.size(), 1u);
  EXPECT_EQ(only.begin()->value().to_number<double>(), -1);
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
