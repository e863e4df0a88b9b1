#include "client/agent_write/document_writer.h"

#include <utility>

#include "common/agent_write/prompts.h"
#include "common/agent_write/trimmer.h"

namespace longhand::client {

Result<Document> DocumentWriter::Write(const std::string& instruction) {
  document_ = {};
  LONGHAND_ASSIGN_OR_RETURN(const Plan plan, MakePlan(instruction));
  document_.plan = plan.text;
  observer_.OnOutline(plan.text, plan.outline);
  std::string text;
  for (size_t i = 0; i < plan.outline.size(); ++i) {
    observer_.OnSectionStart(i);
    const Status status = WriteSection(instruction, plan.outline[i], &text);
    if (!status.ok()) {
      return status.WithContext("section " + std::to_string(i + 1) + " of " +
                                std::to_string(plan.outline.size()));
    }
  }
  return std::move(document_);
}

Result<DocumentWriter::Plan> DocumentWriter::MakePlan(const std::string& instruction) {
  for (bool again = may_plan_again_;; again = false) {
    LONGHAND_ASSIGN_OR_RETURN(const Reply reply, model_.Ask(PlanPrompt(instruction),
                                                            [this](std::string_view text, int64_t) {
                                                              observer_.OnPlanPiece(text);
                                                            }));
    document_.num_tokens += reply.num_tokens;
    Result<std::vector<OutlineSection>> outline = ParseOutline(reply.text);
    // The last line of half a plan may look like a whole one.
    if (outline.ok() && reply.cut_off)
      outline = Aborted("it was cut off after ", reply.num_tokens, " tokens");
    if (outline.ok()) return Plan{Trimmed(reply.text), std::move(outline).value()};
    const Status status = Aborted("the plan cannot be read: ", outline.status().message());
    if (!again) return status;
    observer_.OnPlanAgain(status);
  }
}

Status DocumentWriter::WriteSection(const std::string& instruction,
                                    const OutlineSection& section,
                                    std::string* text_so_far) {
  Trimmer trimmer;
  WrittenSection written{.step = section.step};
  const auto on_piece = [&](std::string_view piece, int64_t num_tokens) {
    const std::string ready = trimmer.Add(piece);
    written.text += ready;
    observer_.OnSectionPiece(ready, num_tokens);
  };
  LONGHAND_ASSIGN_OR_RETURN(
      const Reply reply,
      model_.Ask(WritePrompt(instruction, document_.plan, *text_so_far, section.step), on_piece));
  document_.num_tokens += reply.num_tokens;
  if (written.text.empty()) return Aborted("the model wrote nothing");
  written.num_words = counter_.Count(written.text);
  document_.num_words += written.num_words;
  if (!text_so_far->empty()) *text_so_far += "\n\n";
  *text_so_far += written.text;
  observer_.OnSectionEnd(written, reply.cut_off);
  document_.sections.push_back(std::move(written));
  return OkStatus();
}

}  // namespace longhand::client
