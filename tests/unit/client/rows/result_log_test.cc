#include "client/rows/result_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/testing/temp_directory.h"

namespace longhand::client {
namespace {

using ::testing::HasSubstr;

TEST(ResultLog, ResultsAreThereAgainWhenItIsOpened) {
  const testing::TempDirectory folder;
  const auto path = folder.path() / "a" / "log.jsonl";
  {
    auto log = ResultLog::Open(path, {{"temperature", 0.5}});
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_EQ((*log)->Find("7"), nullptr);
    ASSERT_TRUE((*log)->Add("7", {{"length", 3}}).ok());
  }
  std::ofstream(path, std::ios::app) << "{\"key\":\"8\",\"len";  // Then the power went.
  auto log = ResultLog::Open(path, {{"temperature", 0.5}});
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_NE((*log)->Find("7"), nullptr);
  EXPECT_EQ((*log)->Find("7")->at("length"), 3);
  EXPECT_EQ((*log)->Find("8"), nullptr);
  ASSERT_TRUE((*log)->Add("8", {}).ok());
  EXPECT_TRUE(ResultLog::Open(path, {}).ok());
}

TEST(ResultLog, OtherSettingsAreRefusedWithBothValues) {
  const testing::TempDirectory folder;
  auto log = ResultLog::Open(folder.path() / "log", {{"top_p", 0.5}});
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_TRUE((*log)->Add("7", {}).ok());
  const Status status = ResultLog::Open(folder.path() / "log", {{"top_p", 0.75}}).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("top_p 0.5, and now it is 0.75"));
}

// Of a run that ended before it had one.
TEST(ResultLog, SettingsWithoutAResultBindNobody) {
  const testing::TempDirectory folder;
  ASSERT_TRUE(ResultLog::Open(folder.path() / "log", {{"top_p", 0.5}}).ok());
  EXPECT_TRUE(ResultLog::Open(folder.path() / "log", {{"top_p", 0.75}}).ok());
}

}  // namespace
}  // namespace longhand::client
