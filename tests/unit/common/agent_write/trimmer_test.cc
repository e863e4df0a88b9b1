#include "common/agent_write/trimmer.h"

#include <gtest/gtest.h>

namespace longhand {
namespace {

TEST(Trimmer, KeepsWhatMayBeTheEndUntilMoreFollows) {
  Trimmer trimmer;
  EXPECT_EQ(trimmer.Add(" \n"), "");
  EXPECT_EQ(trimmer.Add("\tOne "), "One");
  EXPECT_EQ(trimmer.Add("\n\n"), "");
  EXPECT_EQ(trimmer.Add("two"), " \n\ntwo");
  EXPECT_EQ(trimmer.Add(". \r\n"), ".");
}

TEST(Trimmer, WhiteSpaceAloneIsNoText) {
  EXPECT_EQ(Trimmed(" \n\t\r\n"), "");
  EXPECT_EQ(Trimmed("\n 磨坊。\n"), "磨坊。");
}

}  // namespace
}  // namespace longhand
