#include "client/agent_write/document_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/agent_write/prompts.h"

namespace longhand::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kPlan =
    "Section 1 - Main Point: the mill - Word Count: 3\n"
    "Section 2 - Main Point: 磨坊 - Word Count: 2";
const std::string kFirstStep = kPlan.substr(0, kPlan.find('\n'));
const std::string kSecondStep = kPlan.substr(kPlan.find('\n') + 1);

// Answers in order, each in pieces of three bytes.
class ScriptedModel final : public Model {
 public:
  explicit ScriptedModel(std::vector<Result<Reply>> replies) : replies_(std::move(replies)) {}

  Result<Reply> Ask(const std::string& prompt, const OnPiece& on_piece) override {
    prompts.push_back(prompt);
    if (prompts.size() > replies_.size()) return Internal("nothing more is scripted");
    const Result<Reply>& reply = replies_[prompts.size() - 1];
    if (!reply.ok()) return reply;
    for (size_t at = 0; at < reply->text.size(); at += 3) on_piece(reply->text.substr(at, 3), 1);
    return reply;
  }

  std::vector<std::string> prompts;

 private:
  const std::vector<Result<Reply>> replies_;
};

class Log final : public WriteObserver {
 public:
  void OnPlanAgain(const Status& why) override { again.push_back(why.message()); }
  void OnOutline(const std::string& plan, const std::vector<OutlineSection>& outline) override {
    shown += plan + "|" + std::to_string(outline.size());
  }
  void OnSectionStart(size_t section) override { shown += "|" + std::to_string(section) + ":"; }
  void OnSectionPiece(std::string_view text, int64_t) override { shown += text; }
  void OnSectionEnd(const WrittenSection& section, bool cut_off) override {
    shown += "=" + std::to_string(section.num_words) + (cut_off ? " cut off" : "");
  }

  std::string shown;
  std::vector<std::string> again;
};

Result<Document> Write(ScriptedModel& model, bool may_plan_again, Log& log) {
  const WordCounter counter;
  return DocumentWriter(model, counter, may_plan_again, log).Write("wish");
}

TEST(DocumentWriter, EverySectionSeesThePlanAndWhatWasWritten) {
  ScriptedModel model({Reply{" " + kPlan + "\n", 40}, Reply{"\n One two\n\n three. \n", 7},
                       Reply{"磨坊。", 3, /*cut_off=*/true}});
  Log log;
  const Result<Document> document = Write(model, true, log);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_THAT(model.prompts,
              ElementsAre(PlanPrompt("wish"), WritePrompt("wish", kPlan, "", kFirstStep),
                          WritePrompt("wish", kPlan, "One two\n\n three.", kSecondStep)));
  EXPECT_EQ(document->plan, kPlan);
  ASSERT_EQ(document->sections.size(), 2u);
  EXPECT_EQ(document->sections[0].step, kFirstStep);
  EXPECT_EQ(document->sections[0].text, "One two\n\n three.");
  EXPECT_EQ(document->sections[0].num_words, 3);
  EXPECT_EQ(document->sections[1].num_words, 2);
  EXPECT_EQ(document->num_words, 5);
  EXPECT_EQ(document->num_tokens, 50);
  EXPECT_EQ(log.shown, kPlan + "|2|0:One two\n\n three.=3|1:磨坊。=2 cut off");
}

TEST(DocumentWriter, TheThirdSectionSeesBothBeforeWithABlankLineBetween) {
  const std::string third = "Section 3 - Main Point: x - Word Count: 1";
  ScriptedModel model({Reply{kPlan + "\n" + third}, Reply{"One."}, Reply{"Two."}, Reply{"Three."}});
  Log log;
  ASSERT_TRUE(Write(model, true, log).ok());
  EXPECT_EQ(model.prompts[3], WritePrompt("wish", kPlan + "\n" + third, "One.\n\nTwo.", third));
}

TEST(DocumentWriter, APlanThatCannotBeReadIsAskedForOnceMore) {
  ScriptedModel model(
      {Reply{"Once upon a time", 4}, Reply{kPlan, 40}, Reply{"a", 1}, Reply{"b", 1}});
  Log log;
  const Result<Document> document = Write(model, true, log);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(document->num_tokens, 46);
  ASSERT_EQ(log.again.size(), 1u);
  EXPECT_THAT(log.again[0], HasSubstr("the plan cannot be read: no line begins"));
}

TEST(DocumentWriter, TwoPlansThatCannotBeReadAreAnError) {
  ScriptedModel model({Reply{"Once"}, Reply{"upon"}, Reply{kPlan}});
  Log log;
  EXPECT_THAT(Write(model, true, log).status().message(),
              HasSubstr("the plan cannot be read: no line begins with 'Section 1 -'; it begins "
                        "with 'upon'"));
  EXPECT_EQ(model.prompts.size(), 2u);
}

TEST(DocumentWriter, AGreedyModelIsNotAskedTwice) {
  ScriptedModel model({Reply{"Once"}, Reply{kPlan}});
  Log log;
  EXPECT_THAT(Write(model, false, log).status().message(), HasSubstr("'Once'"));
  EXPECT_EQ(model.prompts.size(), 1u);
}

// "Word Count: 500" cut to "Word Count: 5" would pass for a whole line.
TEST(DocumentWriter, HalfAPlanIsNoPlan) {
  ScriptedModel model({Reply{kPlan, 40, /*cut_off=*/true}});
  Log log;
  EXPECT_THAT(Write(model, false, log).status().message(), HasSubstr("cut off after 40 tokens"));
}

TEST(DocumentWriter, AFailureNamesItsSection) {
  ScriptedModel model({Reply{kPlan}, Reply{"One."}, Unavailable("no worker group")});
  Log log;
  const Status lost = Write(model, true, log).status();
  EXPECT_EQ(lost.code(), StatusCode::kUnavailable);
  EXPECT_EQ(lost.message(), "section 2 of 2: no worker group");
  ScriptedModel silent({Reply{kPlan}, Reply{" \n"}});
  EXPECT_EQ(Write(silent, true, log).status().message(), "section 1 of 2: the model wrote nothing");
  ScriptedModel unreachable({Unavailable("no route")});
  EXPECT_EQ(Write(unreachable, true, log).status().message(), "no route");
  EXPECT_EQ(unreachable.prompts.size(), 1u);
}

}  // namespace
}  // namespace longhand::client
