// The instruction that a length makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace longhand::client {

enum class Language { kEnglish, kChinese };

// "Write a 1000-word story about this picture.", as the bundled model has learnt to be asked.
std::string StoryInstruction(int64_t num_words, size_t num_pictures, Language language);

}  // namespace longhand::client
