// DocumentScript: which calls to the model a document takes, and what its events are. A function of
// the request and of the calls' events alone, so that a coordinator that starts again comes to the
// same calls and the same events.
//
// A call for the outline, unless the request brings one; once more if it cannot be read and the
// model draws. Then a call for each section, which sees the outline and what was written before it.
// With a target the outline's counts are scaled to it, and each section is asked for its share of
// what is left, so that sections make up for each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/agent_write/outline.h"
#include "common/agent_write/trimmer.h"
#include "common/status.h"
#include "common/text/running_word_count.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::documents {

// One thread at a time.
class DocumentScript {
 public:
  using Events = std::vector<v1::GenerateEvent>;  // not numbered yet

  // `request` came from ResolveDocument and passes CheckPlan; `counter` outlives this.
  DocumentScript(v1::WriteDocumentRequest request, const WordCounter& counter);

  bool is_written() const { return !is_planning() && section_ == outline_.size(); }
  // The call that is due: "plan-1", "section-3", and its request, but for its id.
  std::string call_name() const;
  v1::GenerateRequest MakeCall() const;

  // What comes of the call, in this order: it is taken, its events, the last one (which has the
  // finish reason). Each appends the document's events. kAborted when no outline can be read or a
  // section came back empty.
  void OnTaken(Events* out);
  void OnEvent(const v1::GenerateEvent& event, Events* out);
  Status OnLast(const v1::GenerateEvent& event, Events* out);

  // An error of the call, with the section that it belongs to.
  Status InContext(const Status& status) const;

  int64_t num_words_planned() const { return num_words_planned_; }  // 0: there is no outline yet
  int64_t num_words_written() const;
  size_t num_sections() const { return outline_.size(); }

 private:
  bool is_planning() const { return outline_.empty(); }
  int64_t target_words() const { return request_.length().target_words(); }
  Status TakePlan(std::string_view text);
  void Scale();  // the outline's counts to the target
  Status ReadPlan(const v1::GenerateEvent& last);
  void TellPlan(Events* out);
  void BeginSection(Events* out);
  void AddText(const std::string& piece, std::string* visible);
  Status EndSection(const v1::GenerateEvent& last, Events* out);
  v1::GenerateEvent LastEvent() const;
  int64_t WordsOfSection() const;

  const v1::WriteDocumentRequest request_;
  const WordCounter& counter_;
  int64_t num_calls_ = 0;  // that have come to their end
  v1::Usage usage_;        // of these

  std::string plan_;            // as the model writes it
  std::string plan_in_prompt_;  // with the words that the sections are to have
  std::vector<OutlineSection> outline_;
  std::vector<int64_t> planned_words_;
  int64_t num_words_planned_ = 0;
  bool is_plan_told_ = false;

  size_t section_ = 0;  // the one that is written
  bool has_section_begun_ = false;
  std::string text_;  // of the sections before, a blank line between them
  int64_t num_words_ = 0;
  std::string section_text_;
  Trimmer trimmer_;
  std::optional<RunningWordCount> section_words_;
};

}  // namespace longhand::documents
