#include "client/agent_write/instruction.h"

#include <fmt/format.h>

namespace longhand::client {

std::string StoryInstruction(int64_t num_words, size_t num_pictures, Language language) {
  if (language == Language::kChinese) {
    return fmt::format("{}写一篇{}字的文章。", num_pictures > 0 ? "看图" : "", num_words);
  }
  const char* about = num_pictures == 0   ? ""
                      : num_pictures == 1 ? " about this picture"
                                          : " about these pictures";
  return fmt::format("Write a {}-word story{}.", num_words, about);
}

}  // namespace longhand::client
