#include "client/dataset/row_key.h"

#include <gtest/gtest.h>

namespace longhand::client {
namespace {

TEST(RowKeys, TheIdIsTheKeyAndRepetitionsAreNumbered) {
  RowKeys keys;
  EXPECT_EQ(keys.KeyOf({{{"id", 7}}, {}}, "a"), "7");
  EXPECT_EQ(keys.KeyOf({{{"id", "x"}}, {}}, "a"), "\"x\"");
  EXPECT_EQ(keys.KeyOf({{{"id", 7}}, {}}, "b"), "7#2");
}

// Where texts alone are the key, two prompts about different pictures would be one.
TEST(RowKeys, WithoutAnIdTextAndPicturesAreTheKey) {
  RowKeys keys;
  const std::string one = keys.KeyOf({{}, {{"bytes", "image/png"}}}, "text");
  EXPECT_EQ(one.size(), 32u);
  EXPECT_NE(one, keys.KeyOf({{}, {{"other", "image/png"}}}, "text"));
  EXPECT_NE(one, keys.KeyOf({{}, {}}, "text"));
  EXPECT_EQ(one + "#2", keys.KeyOf({{{"id", nullptr}}, {{"bytes", "image/png"}}}, "text"));
}

}  // namespace
}  // namespace longhand::client
