#include "common/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/testing/temp_directory.h"

namespace longhand {
namespace {

using ::testing::HasSubstr;

constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";

class HubCacheOfATest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"})
      unsetenv(name);
    setenv("HF_HOME", home_.path().c_str(), 1);
    std::filesystem::create_directories(repository() / "refs");
    std::filesystem::create_directories(snapshot());
    home_.Write("hub/models--org--model/refs/main", kCommit);
    home_.Write(std::string("hub/models--org--model/snapshots/") + kCommit + "/config.json", "{}");
  }
  std::filesystem::path repository() const { return home_ / "hub/models--org--model"; }
  std::filesystem::path snapshot() const { return repository() / "snapshots" / kCommit; }

  testing::TempDirectory home_;
};

TEST_F(HubCacheOfATest, AModelIsADirectoryOrARepository) {
  const Result<LocatedModel> by_id = LocateModel("org/model", "main");
  ASSERT_TRUE(by_id.ok()) << by_id.status();
  EXPECT_EQ(by_id->directory, snapshot());
  EXPECT_EQ(by_id->name, "org/model");
  EXPECT_EQ(LocateModel("org/model", kCommit)->directory, snapshot());
  EXPECT_EQ(LocateModel(repository().string() + "/", "main")->name, "models--org--model");
}

TEST_F(HubCacheOfATest, WhatIsNotThereIsToBePulled) {
  EXPECT_THAT(LocateModel("org/other", "main").status().message(),
              HasSubstr("`longhand pull org/other`"));
  EXPECT_THAT(LocateModel("org/model", "v2").status().message(),
              HasSubstr("`longhand pull org/model --revision v2`"));
  // Begun and not finished: no config.json.
  std::filesystem::remove(snapshot() / "config.json");
  EXPECT_EQ(LocateModel("org/model", "main").status().code(), StatusCode::kNotFound);
  EXPECT_THAT(LocateModel("/no/such/checkpoint", "main").status().message(),
              HasSubstr("/no/such/checkpoint"));
}

TEST_F(HubCacheOfATest, TheEnvironmentNamesTheCacheAsHuggingFacesToolsRead) {
  EXPECT_EQ(HubCache(), home_ / "hub");
  setenv("HUGGINGFACE_HUB_CACHE", "/of/old", 1);
  EXPECT_EQ(HubCache(), "/of/old");
  setenv("HF_HUB_CACHE", "/of/now", 1);
  EXPECT_EQ(HubCache(), "/of/now");
  unsetenv("HF_HOME");
  setenv("HOME", "/home/writer", 1);
  EXPECT_EQ(HubHome(), "/home/writer/.cache/huggingface");
  setenv("XDG_CACHE_HOME", "/caches", 1);
  EXPECT_EQ(HubHome(), "/caches/huggingface");
}

TEST(HubNames, NothingThatLeavesTheCacheIsAName) {
  for (const char* id : {"org/model", "gpt2", "THU-KEG/LongWriter-V-7B", "a.b/c_d"})
    EXPECT_TRUE(CheckRepositoryId(id).ok()) << id;
  for (const char* id :
       {"", "/", "a/", "/b", "a/b/c", "../x", "a/..", ".a/b", "a--b/c", "a/b c", "a\\b"})
    EXPECT_FALSE(CheckRepositoryId(id).ok()) << id;
  EXPECT_FALSE(CheckRepositoryId(std::string(97, 'a')).ok());
  for (const char* revision : {"main", "refs/pr/1", "v1.0", kCommit})
    EXPECT_TRUE(CheckRevision(revision).ok());
  for (const char* revision : {"", "..", "a/../b", "/etc", "a//b", "a/", "a b", "a\nb"})
    EXPECT_FALSE(CheckRevision(revision).ok()) << revision;
}

}  // namespace
}  // namespace longhand
