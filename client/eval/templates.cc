#include "client/eval/templates.h"

#include "client/eval/builtin_templates.h"
#include "client/generate/chat_file.h"

namespace longhand::client {
namespace {

Status LoadIfThere(const std::filesystem::path& file, std::string* text) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return OkStatus();
  LONGHAND_ASSIGN_OR_RETURN(*text, ReadFile(file));
  return OkStatus();
}

}  // namespace

Result<EvalTemplates> EvalTemplates::Load(const std::filesystem::path& folder) {
  EvalTemplates templates{.judge = std::string(kJudgeTemplate),
                          .caption = std::string(kCaptionTemplate),
                          .caption_write = std::string(kCaptionWriteTemplate)};
  if (folder.empty()) return templates;
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    return NotFound("there is no folder ", folder.string(), " of templates");
  for (const auto& [name, text] :
       {std::pair("eval_quality.txt", &templates.judge), std::pair("judge.txt", &templates.judge),
        std::pair("caption.txt", &templates.caption),
        std::pair("llm_generate.txt", &templates.caption_write),
        std::pair("caption_write.txt", &templates.caption_write)})
    LONGHAND_RETURN_IF_ERROR(LoadIfThere(folder / name, text));
  return templates;
}

}  // namespace longhand::client
