// DocumentWriter: plan-then-write. One call makes an outline, then one call for each of its
// sections, which sees the outline and all that was written before.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "client/agent_write/document.h"
#include "common/agent_write/outline.h"
#include "common/status.h"
#include "common/text/word_counter.h"

namespace longhand::client {

struct Reply {
  std::string text;
  int64_t num_tokens = 0;
  bool cut_off = false;  // by max_tokens or the end of the context
};

// What is asked. Every call differs in its random draws from those before it.
class Model {
 public:
  // A piece of the answer and the number of its tokens.
  using OnPiece = std::function<void(std::string_view text, int64_t num_tokens)>;

  virtual ~Model() = default;
  virtual Result<Reply> Ask(const std::string& prompt, const OnPiece& on_piece) = 0;
};

// Told of everything as it comes. `section` is an index of the outline.
class WriteObserver {
 public:
  virtual ~WriteObserver() = default;
  virtual void OnPlanPiece(std::string_view /*text*/) {}
  // The plan could not be read; another one is asked for.
  virtual void OnPlanAgain(const Status& /*why*/) {}
  virtual void OnOutline(const std::string& /*plan*/, const std::vector<OutlineSection>&) {}
  virtual void OnSectionStart(size_t /*section*/) {}
  // The pieces of a section are its text, without white space at the ends.
  virtual void OnSectionPiece(std::string_view /*text*/, int64_t /*num_tokens*/) {}
  virtual void OnSectionEnd(const WrittenSection&, bool /*cut_off*/) {}
};

class DocumentWriter {
 public:
  // `may_plan_again`: a plan that cannot be read is asked for once more, which is of use only where
  // the model draws.
  DocumentWriter(Model& model,
                 const WordCounter& counter,
                 bool may_plan_again,
                 WriteObserver& observer)
      : model_(model), counter_(counter), may_plan_again_(may_plan_again), observer_(observer) {}

  // Errors of the model; kAborted when no plan could be read or a section came back empty.
  Result<Document> Write(const std::string& instruction);

 private:
  struct Plan {
    std::string text;
    std::vector<OutlineSection> outline;
  };

  Result<Plan> MakePlan(const std::string& instruction);
  Status WriteSection(const std::string& instruction,
                      const OutlineSection& section,
                      std::string* text_so_far);

  Model& model_;
  const WordCounter& counter_;
  const bool may_plan_again_;
  WriteObserver& observer_;
  Document document_;
};

}  // namespace longhand::client
