#include "coordinator/http/document_json.h"

#include <utility>

namespace longhand::http {
namespace {

namespace json = boost::json;

json::object PlanJson(const v1::DocumentPlan& plan) {
  json::array sections;
  for (const v1::PlannedSection& section : plan.sections()) {
    sections.push_back(
        json::object{{"step", section.step()}, {"target_words", section.target_words()}});
  }
  return {{"text", plan.text()}, {"sections", std::move(sections)}};
}

json::object LastJson(const v1::GenerateEvent& event) {
  return {{"finish_reason", FinishReasonJson(event)},
          {"usage", UsageJson(event.usage())},
          {"longhand", EndJson(event)}};
}

// The document as it comes together.
class Document {
 public:
  void Add(const v1::GenerateEvent& event) {
    const v1::DocumentStep& step = event.document();
    if (step.has_plan()) {
      plan_ = step.plan().text();
      for (const v1::PlannedSection& section : step.plan().sections())
        steps_.push_back(section.step());
    }
    if (step.has_section_begin()) {
      is_in_section_ = true;
      sections_.push_back({{"step", steps_.at(sections_.size())},
                           {"target_words", step.section_begin().target_words()}});
      section_text_.clear();
    }
    text_ += event.text();
    if (is_in_section_) section_text_ += event.text();
    if (step.has_section_end()) {
      is_in_section_ = false;
      json::object& section = sections_.back();
      section["words"] = step.section_end().words();
      section["text"] = section_text_;
      section["finish_detail"] = step.section_end().finish_detail();
      num_words_ += step.section_end().words();
    }
    if (event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) end_ = LastJson(event);
  }

  void MoveTo(json::object* out) && {
    (*out)["plan"] = std::move(plan_);
    (*out)["sections"] = json::array(sections_.begin(), sections_.end());
    (*out)["text"] = std::move(text_);
    (*out)["words"] = num_words_;
    for (auto& field : end_) (*out)[field.key()] = std::move(field.value());
  }

 private:
  std::string plan_;
  std::vector<std::string> steps_;
  std::vector<json::object> sections_;
  std::string text_;
  std::string section_text_;
  bool is_in_section_ = false;
  int64_t num_words_ = 0;
  json::object end_;
};

}  // namespace

json::object DocumentStepJson(const v1::GenerateEvent& event) {
  if (event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) return LastJson(event);
  const v1::DocumentStep& step = event.document();
  json::object out;
  if (step.has_plan()) out["plan"] = PlanJson(step.plan());
  if (step.has_section_begin()) {
    out["section_begin"] = {{"section", step.section_begin().section()},
                            {"target_words", step.section_begin().target_words()}};
  }
  if (!event.text().empty() || !event.has_document()) out["text"] = event.text();
  if (step.has_section_end()) {
    out["section_end"] = {{"section", step.section_end().section()},
                          {"words", step.section_end().words()},
                          {"finish_detail", step.section_end().finish_detail()}};
  }
  return out;
}

json::object WholeDocumentJson(const AnswerHead& head,
                               const std::vector<const v1::GenerateEvent*>& events) {
  Document document;
  for (const v1::GenerateEvent* event : events) document.Add(*event);
  json::object out = {{"id", head.request_id},
                      {"object", "document"},
                      {"created", head.form.created()},
                      {"model", head.model}};
  std::move(document).MoveTo(&out);
  return out;
}

}  // namespace longhand::http
