// What plan-then-write makes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longhand::client {

struct WrittenSection {
  std::string step;  // its part of the plan
  std::string text;
  int64_t num_words = 0;  // of the text
};

struct Document {
  std::string plan;
  std::vector<WrittenSection> sections;
  int64_t num_words = 0;   // of the sections
  int64_t num_tokens = 0;  // sampled, the plan's included
};

// LongWriter-V's own result: {"metadata": {"instruction", "image_paths"}, "plan", "sections":
// [{"section", "response", "word_count"}], "total_word_count"}, on one line.
std::string ToJson(const Document& document,
                   const std::string& instruction,
                   const std::vector<std::string>& image_paths);

}  // namespace longhand::client
