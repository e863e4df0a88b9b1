#include "coordinator/documents/document_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/agent_write/prompts.h"

namespace longhand::documents {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Step(int number, int64_t words) {
  return "Section " + std::to_string(number) +
         " - Main Point: the mill - Word Count: " + std::to_string(words);
}

const std::string kPlan = Step(1, 3) + "\n" + Step(2, 2);

v1::WriteDocumentRequest Request(int64_t target_words = 0, const std::string& plan = "") {
  v1::WriteDocumentRequest request;
  request.set_request_id("d");
  request.set_model("longwriter");
  request.set_instruction("Write about the mill.");
  request.add_images()->set_data("a picture");
  request.mutable_sampling()->set_temperature(0.6f);
  request.mutable_sampling()->set_seed(7);
  request.set_priority(3);
  request.set_cache_salt("salt");
  request.set_plan(plan);
  if (target_words > 0) request.mutable_length()->set_target_words(target_words);
  return request;
}

std::string Words(int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += i > 0 ? " word" : "word";
  return text;
}

// Answers each call with pieces of three bytes and a last event, and has all events of the
// document.
class Scripted {
 public:
  explicit Scripted(v1::WriteDocumentRequest request) : script(std::move(request), counter_) {}

  Status Answer(const std::string& text, const std::string& finish_detail = "eos") {
    script.OnTaken(&events);
    for (size_t at = 0; at < text.size(); at += 3) {
      v1::GenerateEvent event;
      event.set_text(text.substr(at, 3));
      script.OnEvent(event, &events);
    }
    v1::GenerateEvent last;
    last.set_finish_reason(finish_detail == "max_tokens" ? v1::FINISH_REASON_LENGTH
                                                         : v1::FINISH_REASON_STOP);
    last.set_finish_detail(finish_detail);
    last.mutable_usage()->set_prompt_tokens(100);
    last.mutable_usage()->set_completion_tokens(10);
    last.mutable_usage()->set_total_tokens(110);
    last.mutable_usage()->set_cached_tokens(50);
    return script.OnLast(last, &events);
  }
  std::string Prompt() const { return script.MakeCall().messages().messages(0).content(0).text(); }
  std::string Text() const {
    std::string text;
    for (const v1::GenerateEvent& event : events) text += event.text();
    return text;
  }
  std::vector<v1::DocumentStep> Steps() const {
    std::vector<v1::DocumentStep> steps;
    for (const v1::GenerateEvent& event : events)
      if (event.has_document()) steps.push_back(event.document());
    return steps;
  }

 private:
  const WordCounter counter_;

 public:
  DocumentScript script;
  DocumentScript::Events events;
};

TEST(DocumentScript, EveryCallIsOneUserMessageWithTheTextBeforeThePictures) {
  const Scripted document(Request());
  const v1::GenerateRequest call = document.script.MakeCall();
  EXPECT_EQ(document.script.call_name(), "plan-1");
  EXPECT_EQ(call.model(), "longwriter");
  ASSERT_EQ(call.messages().messages_size(), 1);
  const v1::ChatMessage& message = call.messages().messages(0);
  EXPECT_EQ(message.role(), "user");
  ASSERT_EQ(message.content_size(), 2);
  EXPECT_EQ(message.content(0).text(), PlanPrompt("Write about the mill."));
  EXPECT_TRUE(message.content(1).has_image());
  EXPECT_EQ(call.images(0).data(), "a picture");
  EXPECT_FLOAT_EQ(call.sampling().temperature(), 0.6f);
  EXPECT_EQ(call.sampling().seed(), 7u);
  EXPECT_EQ(call.on_disconnect(), v1::ON_DISCONNECT_CONTINUE);
  EXPECT_EQ(call.priority(), 3);
  EXPECT_EQ(call.cache_salt(), "salt");
  EXPECT_FALSE(call.has_length());
  EXPECT_TRUE(call.constraint().has_grammar());
}

TEST(DocumentScript, SectionsAreFreeText) {
  const Scripted document(Request(0, kPlan));
  EXPECT_FALSE(document.script.MakeCall().has_constraint());
}

TEST(DocumentScript, EverySectionSeesThePlanAndWhatWasWritten) {
  Scripted document(Request());
  ASSERT_TRUE(document.Answer(" " + kPlan + "\n").ok());
  EXPECT_EQ(document.script.call_name(), "section-1");
  EXPECT_EQ(document.Prompt(), WritePrompt("Write about the mill.", kPlan, "", Step(1, 3)));
  EXPECT_EQ(document.script.MakeCall().sampling().seed(), 8u);
  EXPECT_FALSE(document.script.MakeCall().has_length());
  ASSERT_TRUE(document.Answer("\n One two\n\n three. \n").ok());
  EXPECT_EQ(document.Prompt(),
            WritePrompt("Write about the mill.", kPlan, "One two\n\n three.", Step(2, 2)));
  ASSERT_TRUE(document.Answer("磨坊。", "max_tokens").ok());
  EXPECT_TRUE(document.script.is_written());
  EXPECT_EQ(document.Text(), "One two\n\n three.\n\n磨坊。");

  const std::vector<v1::DocumentStep> steps = document.Steps();
  ASSERT_EQ(steps.size(), 5u);
  EXPECT_EQ(steps[0].plan().text(), kPlan);
  ASSERT_EQ(steps[0].plan().sections_size(), 2);
  EXPECT_EQ(steps[0].plan().sections(1).step(), Step(2, 2));
  EXPECT_EQ(steps[0].plan().sections(1).target_words(), 2);
  EXPECT_EQ(steps[1].section_begin().section(), 1);
  EXPECT_EQ(steps[1].section_begin().target_words(), 3);
  EXPECT_EQ(steps[2].section_end().words(), 3);
  EXPECT_EQ(steps[2].section_end().finish_detail(), "eos");
  EXPECT_EQ(steps[3].section_begin().section(), 2);
  EXPECT_EQ(steps[4].section_end().words(), 2);
  EXPECT_EQ(steps[4].section_end().finish_detail(), "max_tokens");

  const v1::GenerateEvent& last = document.events.back();
  EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(last.finish_detail(), "document_written");
  EXPECT_EQ(last.usage().prompt_tokens(), 300);
  EXPECT_EQ(last.usage().completion_tokens(), 30);
  EXPECT_EQ(last.usage().total_tokens(), 330);
  EXPECT_EQ(last.usage().cached_tokens(), 150);
  EXPECT_FALSE(last.has_length());
}

// The text between a section's begin and its end is its own, the blank line is nobody's.
TEST(DocumentScript, TheBlankLineStandsBetweenTheSections) {
  Scripted document(Request(0, kPlan));
  ASSERT_TRUE(document.Answer("One").ok());
  document.events.clear();
  document.script.OnTaken(&document.events);
  ASSERT_EQ(document.events.size(), 2u);
  EXPECT_EQ(document.events[0].text(), "\n\n");
  EXPECT_FALSE(document.events[0].has_document());
  EXPECT_TRUE(document.events[1].document().has_section_begin());
}

TEST(DocumentScript, SectionsMakeUpForEachOther) {
  const std::string plan = Step(1, 100) + "\n" + Step(2, 100) + "\n" + Step(3, 200);
  Scripted document(Request(800));
  EXPECT_THAT(document.Prompt(),
              HasSubstr("Write about the mill.\n\nThe whole text is to have 800 words."));
  ASSERT_TRUE(document.Answer(plan).ok());
  const v1::DocumentPlan told = document.Steps()[0].plan();
  EXPECT_EQ(told.text(), plan);
  EXPECT_EQ(told.sections(0).target_words(), 200);
  EXPECT_EQ(told.sections(0).step(), Step(1, 200));
  EXPECT_EQ(told.sections(2).target_words(), 400);
  const std::string scaled = Step(1, 200) + "\n" + Step(2, 200) + "\n" + Step(3, 400);
  EXPECT_EQ(document.Prompt(), WritePrompt("Write about the mill.", scaled, "", Step(1, 200)));
  EXPECT_EQ(document.script.MakeCall().length().target_words(), 200);

  ASSERT_TRUE(document.Answer(Words(260)).ok());  // 540 are left for 600
  EXPECT_EQ(document.script.MakeCall().length().target_words(), 180);
  EXPECT_EQ(document.Prompt(),
            WritePrompt("Write about the mill.", scaled, Words(260), Step(2, 180)));
  ASSERT_TRUE(document.Answer(Words(170)).ok());
  EXPECT_EQ(document.script.MakeCall().length().target_words(), 370);
  ASSERT_TRUE(document.Answer(Words(366)).ok());
  const v1::LengthReport& length = document.events.back().length();
  EXPECT_EQ(length.target_words(), 800);
  EXPECT_EQ(length.words(), 796);
  EXPECT_NEAR(length.score(), 99.83, 0.01);
}

TEST(DocumentScript, ASectionKeepsAFifthOfItsPlanHoweverLongOthersBecame) {
  Scripted document(Request(20, Step(1, 10) + "\n" + Step(2, 11)));
  EXPECT_EQ(document.script.MakeCall().length().target_words(), 10);
  ASSERT_TRUE(document.Answer(Words(50)).ok());
  EXPECT_EQ(document.script.MakeCall().length().target_words(), 2);
}

TEST(DocumentScript, APlanOfTheClientsIsUsedAsItIs) {
  Scripted document(Request(0, kPlan));
  EXPECT_EQ(document.script.call_name(), "section-1");
  EXPECT_EQ(document.script.MakeCall().sampling().seed(), 7u);
  ASSERT_TRUE(document.Answer("One").ok());
  EXPECT_EQ(document.Steps()[0].plan().text(), kPlan);
}

TEST(DocumentScript, APlanThatCannotBeReadIsAskedForOnceMoreWithAnotherSeed) {
  Scripted document(Request());
  const std::string prompt = document.Prompt();
  ASSERT_TRUE(document.Answer("Once upon a time").ok());
  EXPECT_EQ(document.script.call_name(), "plan-2");
  EXPECT_EQ(document.Prompt(), prompt);
  EXPECT_EQ(document.script.MakeCall().sampling().seed(), 8u);
  EXPECT_TRUE(document.events.empty());
  Scripted other = Scripted(Request());
  ASSERT_TRUE(other.Answer("Once").ok());
  ASSERT_TRUE(other.Answer(kPlan).ok());
  EXPECT_EQ(other.script.call_name(), "section-1");
  EXPECT_EQ(other.script.MakeCall().sampling().seed(), 9u);
  const Status status = document.Answer("upon");
  EXPECT_EQ(status.code(), StatusCode::kAborted);
  EXPECT_THAT(status.message(), HasSubstr("the plan cannot be read: no line begins with 'Section "
                                          "1 -'; it begins with 'upon'"));
}

TEST(DocumentScript, AGreedyModelIsNotAskedTwice) {
  v1::WriteDocumentRequest request = Request();
  request.mutable_sampling()->set_temperature(0);
  EXPECT_EQ(Scripted(request).Answer("Once").code(), StatusCode::kAborted);
}

// "Word Count: 500" cut to "Word Count: 5" would pass for a whole line.
TEST(DocumentScript, HalfAPlanIsNoPlan) {
  v1::WriteDocumentRequest request = Request();
  request.mutable_sampling()->set_temperature(0);
  EXPECT_THAT(Scripted(request).Answer(kPlan, "max_tokens").message(),
              HasSubstr("cut off after 10 tokens"));
}

TEST(DocumentScript, AFailureNamesItsSection) {
  Scripted document(Request(0, kPlan));
  ASSERT_TRUE(document.Answer("One").ok());
  const Status silent = document.Answer(" \n");
  EXPECT_EQ(silent.code(), StatusCode::kAborted);
  EXPECT_EQ(silent.message(), "section 2 of 2: the model wrote nothing");
  EXPECT_EQ(document.script.InContext(Cancelled("gone")).message(), "section 2 of 2: gone");
  EXPECT_EQ(Scripted(Request()).script.InContext(Cancelled("gone")).message(), "gone");
}

TEST(DocumentScript, ToldAgainACallBeginsNothingTwice) {
  Scripted document(Request(0, kPlan));
  document.script.OnTaken(&document.events);
  document.script.OnTaken(&document.events);
  EXPECT_EQ(document.Steps().size(), 2u);  // the plan, the section
}

TEST(DocumentScript, CountsWordsWhileASectionIsWritten) {
  Scripted document(Request(0, kPlan));
  EXPECT_EQ(document.script.num_words_planned(), 5);
  EXPECT_EQ(document.script.num_words_written(), 0);
  document.script.OnTaken(&document.events);
  v1::GenerateEvent event;
  event.set_text("one two ");
  document.script.OnEvent(event, &document.events);
  EXPECT_EQ(document.script.num_words_written(), 2);
}

}  // namespace
}  // namespace longhand::documents
