#include "client/export_training/written_rows.h"

#include <gtest/gtest.h>

namespace longhand::client {
namespace {

DatasetRow Row(const char* json) { return {.fields = boost::json::parse(json).as_object()}; }

TEST(SampleOfWriting, SectionsAreJoinedByABlankLineInEitherForm) {
  for (const char* row :
       {R"({"prompt":"p","write":["a","b"]})",
        R"({"metadata":{"instruction":"p"},"sections":[{"response":"a"},{"response":"b"}]})"}) {
    const Result<Sample> sample = SampleOfWriting(Row(row));
    ASSERT_TRUE(sample.ok()) << sample.status();
    EXPECT_EQ(sample->turns[0].text, "p");
    EXPECT_EQ(sample->turns[1].text, "a\n\nb");
  }
}

TEST(SampleOfMessages, TheFormOfMessagesIsFound) {
  for (
      const auto& [row, expected] :
      {std::pair(R"({"messages":["q","{a} b"]})", "texts, the user's and the assistant's in turn"),
       {R"({"messages":["{\"role\":\"user\",\"content\":\"q\"}","{\"from\":\"gpt\",\"value\":\"{a} b\"}"]})",
        "JSON texts with roles"},
       {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"{a} b"}]})",
        "objects with roles"}}) {
    std::string form;
    const Result<Sample> sample = SampleOfMessages(Row(row), &form);
    ASSERT_TRUE(sample.ok()) << sample.status();
    EXPECT_EQ(form, expected);
    ASSERT_EQ(sample->turns.size(), 2u);
    EXPECT_TRUE(sample->turns[0].is_user);
    EXPECT_FALSE(sample->turns[1].is_user);
    EXPECT_EQ(sample->turns[1].text, "{a} b");
  }
}

TEST(SampleOfMessages, WhatIsNoMessageIsRefused) {
  std::string form;
  for (const char* row :
       {R"({})", R"({"messages":[7]})", R"({"messages":[{"role":"system","content":"x"}]})"})
    EXPECT_FALSE(SampleOfMessages(Row(row), &form).ok()) << row;
}

}  // namespace
}  // namespace longhand::client
