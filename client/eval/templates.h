// The prompts of the evaluations: those in templates/, or files of one's own.
#pragma once

#include <filesystem>
#include <string>

#include "common/status.h"

namespace longhand::client {

struct EvalTemplates {
  std::string judge;          // $INST$ $RESPONSE$
  std::string caption;        // none
  std::string caption_write;  // $QUESTION$ $CAPTIONS$

  // judge.txt, caption.txt and caption_write.txt of `folder`, each where it is there; the
  // published names eval_quality.txt and llm_generate.txt do as well. Empty: our own.
  static Result<EvalTemplates> Load(const std::filesystem::path& folder);
};

}  // namespace longhand::client
