#include "coordinator/http/document_json.h"

#include <gtest/gtest.h>

namespace longhand::http {
namespace {

namespace json = boost::json;

AnswerHead Head() {
  AnswerHead head{.request_id = "d", .model = "m"};
  head.form.set_kind(journal::v1::AnswerForm::KIND_DOCUMENT);
  head.form.set_created(7);
  return head;
}

// Two sections of which the first ends with text of its own.
std::vector<v1::GenerateEvent> Events() {
  std::vector<v1::GenerateEvent> events(8);
  v1::DocumentPlan* plan = events[0].mutable_document()->mutable_plan();
  plan->set_text("A plan");
  for (const char* step : {"Section 1", "Section 2"}) {
    v1::PlannedSection* section = plan->add_sections();
    section->set_step(step);
    section->set_target_words(2);
  }
  v1::SectionBegin* begin = events[1].mutable_document()->mutable_section_begin();
  begin->set_section(1);
  begin->set_target_words(2);
  events[2].set_text("One");
  events[3].set_text(" two.");
  v1::SectionEnd* end = events[3].mutable_document()->mutable_section_end();
  end->set_section(1);
  end->set_words(2);
  end->set_finish_detail("eos");
  events[4].set_text("\n\n");
  *events[5].mutable_document() = events[1].document();
  events[5].mutable_document()->mutable_section_begin()->set_section(2);
  *events[6].mutable_document() = events[3].document();
  events[6].mutable_document()->mutable_section_end()->set_section(2);
  events[6].set_text("Three four.");
  v1::GenerateEvent& last = events[7];
  last.set_finish_reason(v1::FINISH_REASON_STOP);
  last.set_finish_detail("document_written");
  last.mutable_usage()->set_prompt_tokens(3);
  last.mutable_length()->set_target_words(4);
  last.mutable_length()->set_words(4);
  last.mutable_length()->set_score(100);
  for (size_t i = 0; i < events.size(); ++i) events[i].set_seq(static_cast<int64_t>(i) + 1);
  return events;
}

TEST(DocumentJson, TheWholeHasPlanSectionsAndText) {
  const std::vector<v1::GenerateEvent> events = Events();
  std::vector<const v1::GenerateEvent*> all;
  for (const v1::GenerateEvent& event : events) all.push_back(&event);
  const json::value expected = json::parse(
      R"({"id":"d","object":"document","created":7,"model":"m","plan":"A plan","sections":[
          {"step":"Section 1","target_words":2,"text":"One two.","words":2,"finish_detail":"eos"},
          {"step":"Section 2","target_words":2,"text":"Three four.","words":2,"finish_detail":"eos"}],
          "text":"One two.\n\nThree four.","words":4,"finish_reason":"stop",
          "usage":{"prompt_tokens":3,"completion_tokens":0,"total_tokens":0,
                   "prompt_tokens_details":{"cached_tokens":0}},
          "longhand":{"finish_detail":"document_written",
                      "length":{"target_words":4,"words":4,"score":1E2}}})");
  EXPECT_EQ(json::value(WholeDocumentJson(Head(), all)), expected)
      << json::serialize(WholeDocumentJson(Head(), all));
}

TEST(DocumentJson, AStreamHasAStepAnEvent) {
  std::vector<std::string> steps;
  for (const v1::GenerateEvent& event : Events())
    steps.push_back(json::serialize(DocumentStepJson(event)));
  EXPECT_EQ(steps[0],
            R"({"plan":{"text":"A plan","sections":[{"step":"Section 1","target_words":2},)"
            R"({"step":"Section 2","target_words":2}]}})");
  EXPECT_EQ(steps[1], R"({"section_begin":{"section":1,"target_words":2}})");
  EXPECT_EQ(steps[2], R"({"text":"One"})");
  EXPECT_EQ(steps[3],
            R"({"text":" two.","section_end":{"section":1,"words":2,"finish_detail":"eos"}})");
  EXPECT_EQ(steps[4], R"({"text":"\n\n"})");
  EXPECT_EQ(json::parse(steps[7]).at("longhand").at("finish_detail"), "document_written");
}

}  // namespace
}  // namespace longhand::http
