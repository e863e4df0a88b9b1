#include "client/agent_write/instruction.h"

#include <gtest/gtest.h>

namespace longhand::client {
namespace {

TEST(Instruction, IsWordedAsTheBundledModelIsAsked) {
  EXPECT_EQ(StoryInstruction(1000, 1, Language::kEnglish),
            "Write a 1000-word story about this picture.");
  EXPECT_EQ(StoryInstruction(500, 0, Language::kEnglish), "Write a 500-word story.");
  EXPECT_EQ(StoryInstruction(500, 3, Language::kEnglish),
            "Write a 500-word story about these pictures.");
  EXPECT_EQ(StoryInstruction(2000, 1, Language::kChinese), "看图写一篇2000字的文章。");
  EXPECT_EQ(StoryInstruction(2000, 0, Language::kChinese), "写一篇2000字的文章。");
}

}  // namespace
}  // namespace longhand::client
