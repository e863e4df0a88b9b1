#include "client/agent_write/document_receiver.h"

#include <utility>

namespace longhand::client {

// Within a section every event is a token, also where its text has yet to come.
void DocumentReceiver::Add(const v1::GenerateEvent& event) {
  const v1::DocumentStep& step = event.document();
  if (step.has_plan()) OnPlan(step.plan());
  if (step.has_section_begin()) {
    const auto index = static_cast<size_t>(step.section_begin().section() - 1);
    section_ = {.step = index < outline_.size() ? outline_[index].step : ""};
    is_in_section_ = true;
    return observer_.OnSectionStart(index);
  }
  if (is_in_section_) {
    section_.text += event.text();
    observer_.OnSectionPiece(event.text(), /*num_tokens=*/1);
  }
  if (step.has_section_end()) {
    const std::string& detail = step.section_end().finish_detail();
    is_in_section_ = false;
    section_.num_words = step.section_end().words();
    document_.num_words += section_.num_words;
    const bool is_cut_off =
        detail == "max_tokens" || detail == "context_full" || detail == "repetition";
    observer_.OnSectionEnd(section_, is_cut_off);
    document_.sections.push_back(std::move(section_));
  }
  if (event.has_usage()) document_.num_tokens = event.usage().completion_tokens();
}

void DocumentReceiver::OnPlan(const v1::DocumentPlan& plan) {
  document_.plan = plan.text();
  for (const v1::PlannedSection& section : plan.sections())
    outline_.push_back({.step = section.step(), .num_words = section.target_words()});
  observer_.OnOutline(document_.plan, outline_);
}

}  // namespace longhand::client
