#include "coordinator/documents/document_script.h"

#include <algorithm>
#include <utility>

#include "common/agent_write/outline_grammar.h"
#include "common/agent_write/prompts.h"
#include "common/length_score.h"

namespace longhand::documents {
namespace {

constexpr std::string_view kBetweenSections = "\n\n";
// Of its planned words a section gets at least one in so many, however long those before it became.
constexpr int64_t kLeastShare = 5;

}  // namespace

DocumentScript::DocumentScript(v1::WriteDocumentRequest request, const WordCounter& counter)
    : request_(std::move(request)), counter_(counter) {
  if (request_.plan().empty()) return;
  const Status status = TakePlan(request_.plan());
  LONGHAND_CHECK(status.ok()) << status;
}

std::string DocumentScript::call_name() const {
  return is_planning() ? "plan-" + std::to_string(num_calls_ + 1)
                       : "section-" + std::to_string(section_ + 1);
}

v1::GenerateRequest DocumentScript::MakeCall() const {
  v1::GenerateRequest call;
  call.set_model(request_.model());
  *call.mutable_images() = request_.images();
  *call.mutable_sampling() = request_.sampling();
  call.mutable_sampling()->set_seed(request_.sampling().seed() + static_cast<uint64_t>(num_calls_));
  call.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);  // The document says when it ends.
  call.set_priority(request_.priority());
  call.set_cache_salt(request_.cache_salt());
  v1::ChatMessage* message = call.mutable_messages()->add_messages();
  message->set_role("user");
  std::string* prompt = message->add_content()->mutable_text();
  for (int i = 0; i < request_.images_size(); ++i) message->add_content()->mutable_image();
  if (is_planning()) {
    *prompt = PlanPrompt(target_words() > 0 ? WithLength(request_.instruction(), target_words())
                                            : request_.instruction());
    call.mutable_constraint()->set_grammar(OutlineGrammar());
    return call;
  }
  std::string step = outline_[section_].step;
  if (target_words() > 0) {
    call.mutable_length()->set_target_words(WordsOfSection());
    step = WithWordCount(step, WordsOfSection());
  }
  *prompt = WritePrompt(request_.instruction(), plan_in_prompt_, text_, step);
  return call;
}

void DocumentScript::OnTaken(Events* out) {
  if (is_planning()) return;
  TellPlan(out);
  BeginSection(out);
}

void DocumentScript::OnEvent(const v1::GenerateEvent& event, Events* out) {
  if (is_planning()) {
    plan_ += event.text();
  } else {
    AddText(event.text(), out->emplace_back().mutable_text());
  }
}

Status DocumentScript::OnLast(const v1::GenerateEvent& event, Events* out) {
  ++num_calls_;
  const v1::Usage& usage = event.usage();
  usage_.set_prompt_tokens(usage_.prompt_tokens() + usage.prompt_tokens());
  usage_.set_completion_tokens(usage_.completion_tokens() + usage.completion_tokens());
  usage_.set_total_tokens(usage_.total_tokens() + usage.total_tokens());
  usage_.set_cached_tokens(usage_.cached_tokens() + usage.cached_tokens());
  if (!is_planning()) return EndSection(event, out);
  LONGHAND_RETURN_IF_ERROR(ReadPlan(event));
  TellPlan(out);
  return OkStatus();
}

Status DocumentScript::InContext(const Status& status) const {
  if (is_planning()) return status;
  return status.WithContext("section " + std::to_string(section_ + 1) + " of " +
                            std::to_string(outline_.size()));
}

int64_t DocumentScript::num_words_written() const {
  return num_words_ + (section_words_ ? section_words_->num_words() : 0);
}

Status DocumentScript::TakePlan(std::string_view text) {
  LONGHAND_ASSIGN_OR_RETURN(outline_, ParseOutline(text));
  plan_ = plan_in_prompt_ = Trimmed(text);
  for (const OutlineSection& section : outline_) planned_words_.push_back(section.num_words);
  if (target_words() > 0) Scale();
  for (const int64_t words : planned_words_) num_words_planned_ += words;
  return OkStatus();
}

void DocumentScript::Scale() {
  std::vector<int64_t> shares = ShareWords(outline_, target_words());
  if (shares == planned_words_) return;
  planned_words_ = std::move(shares);
  plan_in_prompt_.clear();
  for (size_t i = 0; i < outline_.size(); ++i) {
    outline_[i].step = WithWordCount(outline_[i].step, planned_words_[i]);
    plan_in_prompt_.append(i > 0 ? "\n" : "").append(outline_[i].step);
  }
}

// OK without an outline: the model is to be asked once more.
Status DocumentScript::ReadPlan(const v1::GenerateEvent& last) {
  const std::string text = std::exchange(plan_, {}) + last.text();
  // The last line of half a plan may look like a whole one.
  Status status =
      last.finish_reason() == v1::FINISH_REASON_LENGTH
          ? Aborted("it was cut off after ", last.usage().completion_tokens(), " tokens")
          : TakePlan(text);
  const bool may_ask_again = num_calls_ == 1 && request_.sampling().temperature() > 0;
  if (status.ok() || may_ask_again) return OkStatus();
  return Aborted("the plan cannot be read: ", status.message());
}

void DocumentScript::TellPlan(Events* out) {
  if (is_planning() || std::exchange(is_plan_told_, true)) return;
  v1::DocumentPlan* plan = out->emplace_back().mutable_document()->mutable_plan();
  plan->set_text(plan_);
  for (size_t i = 0; i < outline_.size(); ++i) {
    v1::PlannedSection* section = plan->add_sections();
    section->set_step(outline_[i].step);
    section->set_target_words(planned_words_[i]);
  }
}

void DocumentScript::BeginSection(Events* out) {
  if (std::exchange(has_section_begun_, true)) return;
  if (section_ > 0) out->emplace_back().set_text(std::string(kBetweenSections));
  section_text_.clear();
  trimmer_ = Trimmer();
  section_words_.emplace(counter_);
  v1::SectionBegin* begin = out->emplace_back().mutable_document()->mutable_section_begin();
  begin->set_section(static_cast<int32_t>(section_ + 1));
  begin->set_target_words(WordsOfSection());
}

void DocumentScript::AddText(const std::string& piece, std::string* visible) {
  *visible = trimmer_.Add(piece);
  section_text_ += *visible;
  section_words_->Append(*visible);
}

Status DocumentScript::EndSection(const v1::GenerateEvent& last, Events* out) {
  v1::GenerateEvent event;
  AddText(last.text(), event.mutable_text());
  if (section_text_.empty()) return InContext(Aborted("the model wrote nothing"));
  v1::SectionEnd* end = event.mutable_document()->mutable_section_end();
  end->set_section(static_cast<int32_t>(section_ + 1));
  end->set_words(section_words_->num_words());
  end->set_finish_detail(last.finish_detail());
  out->push_back(std::move(event));
  num_words_ += section_words_->num_words();
  section_words_.reset();
  if (section_ > 0) text_ += kBetweenSections;
  text_ += section_text_;
  ++section_;
  has_section_begun_ = false;
  if (is_written()) out->push_back(LastEvent());
  return OkStatus();
}

v1::GenerateEvent DocumentScript::LastEvent() const {
  v1::GenerateEvent event;
  event.set_finish_reason(v1::FINISH_REASON_STOP);
  event.set_finish_detail("document_written");
  *event.mutable_usage() = usage_;
  if (target_words() == 0) return event;
  v1::LengthReport* length = event.mutable_length();
  length->set_target_words(target_words());
  length->set_words(num_words_);
  length->set_score(LengthScore(num_words_, target_words()));
  return event;
}

// Its share of what is left: so the last one gets all of it.
int64_t DocumentScript::WordsOfSection() const {
  const int64_t planned = planned_words_[section_];
  if (target_words() == 0) return planned;
  int64_t planned_left = 0;
  for (size_t i = section_; i < planned_words_.size(); ++i) planned_left += planned_words_[i];
  const int64_t left = std::max<int64_t>(target_words() - num_words_, 0);
  const int64_t share = (2 * left * planned + planned_left) / (2 * planned_left);  // rounded
  return std::max({share, (planned + kLeastShare - 1) / kLeastShare, int64_t{1}});
}

}  // namespace longhand::documents
