#include "client/agent_write/published_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What Python's re.findall gives, white space taken off.
TEST(SplitAsPublished, SectionsGoFromOneHeadingToTheNext) {
  EXPECT_THAT(SplitAsPublished("Here is it:\nSection 1 - Main Point: a - Word Count: 200\n"
                               "Section 2 - Main Point: b\n - Word Count: 300\n"),
              ElementsAre("Section 1 - Main Point: a - Word Count: 200",
                          "Section 2 - Main Point: b\n - Word Count: 300"));
}

TEST(SplitAsPublished, ItsFaultsAreItsOwn) {
  EXPECT_THAT(SplitAsPublished("Section 1 - a: as in Section 7 before\nSection 2 - b: c"),
              ElementsAre("Section 1 - a: as in", "Section 7 before\nSection 2 - b: c"));
  EXPECT_THAT(SplitAsPublished("Section 1 - no colon\nSection 2: b\nSection 3: c"),
              ElementsAre("Section 1 - no colon\nSection 2: b", "Section 3: c"));
  EXPECT_THAT(SplitAsPublished("**Section 1: a**\n**Section 2: b**"),
              ElementsAre("Section 1: a**\n**", "Section 2: b**"));
}

TEST(SplitAsPublished, WithoutAHeadingItsLinesAreTheSections) {
  EXPECT_THAT(SplitAsPublished(" section 1: a \n\n第一节：b\nSection  3: c"),
              ElementsAre("section 1: a", "第一节：b", "Section  3: c"));
  EXPECT_THAT(SplitAsPublished("Section 1 without an end"),
              ElementsAre("Section 1 without an end"));
  EXPECT_THAT(SplitAsPublished(" \n"), IsEmpty());
}

}  // namespace
}  // namespace longhand::client
