#include "common/shared_library.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/testing/temp_directory.h"

namespace longhand {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kName = "liblonghand-none-has-this.so.2";

int AnswerOf(void* library) {
  const auto answer = reinterpret_cast<int (*)()>(dlsym(library, "LonghandAnswer"));
  return answer == nullptr ? 0 : answer();
}

class SharedLibraryTest : public ::testing::Test {
 protected:
  fs::path MakeFolder(const std::string& name) const {
    const fs::path folder = directory_ / name;
    fs::create_directories(folder);
    return folder;
  }
  const testing::TempDirectory directory_;
};

TEST_F(SharedLibraryTest, PackagesOfAllInterpretersAreFoundAVirtualEnvironmentsFirst) {
  const fs::path in_env = MakeFolder("env/lib/python3.11/site-packages/nvidia/nccl/lib");
  const fs::path in_path = MakeFolder("extra/nvidia/nccl/lib");
  const fs::path debian = MakeFolder("usr/lib/python3/dist-packages/nvidia/nccl/lib");
  const fs::path second = MakeFolder("usr/lib/python3.11/dist-packages/nvidia/cu13/lib");
  MakeFolder("usr/lib/python3/dist-packages/nvidia/cudnn/lib");
  MakeFolder("usr/lib/ruby3/dist-packages/nvidia/nccl/lib");
  const PythonPlaces places{
      .virtual_env = (directory_ / "env").string(),
      .python_path = ":relative:" + (directory_ / "extra").string() + ":/gone",
      .prefixes = {directory_ / "usr/lib", directory_ / "absent"}};
  EXPECT_THAT(NvidiaPackageFolders(places, {"nccl", "cu13"}),
              ElementsAre(in_env, in_path, debian, second));
  EXPECT_THAT(
      NvidiaPackageFolders({.virtual_env = "", .python_path = "", .prefixes = {}}, {"nccl"}),
      IsEmpty());
}

TEST_F(SharedLibraryTest, ALibraryIsTakenFromTheFirstFolderThatHasOneThatLoads) {
  const fs::path broken = MakeFolder("broken"), good = MakeFolder("good");
  directory_.Write("broken/" + std::string(kName), "not a library");
  fs::copy(LONGHAND_LOADABLE, good / kName);
  const Result<void*> library =
      LoadSharedLibrary({"liblonghand-neither.so", kName}, {MakeFolder("empty"), broken, good});
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ(AnswerOf(*library), 42);
}

TEST_F(SharedLibraryTest, WhatTheLoaderFindsComesBeforeFolders) {
  const Result<void*> library = LoadSharedLibrary({LONGHAND_LOADABLE}, {MakeFolder("empty")});
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ(AnswerOf(*library), 42);
}

TEST_F(SharedLibraryTest, AnErrorSaysWhatWasTried) {
  const fs::path folder = MakeFolder("empty");
  const Status absent = LoadSharedLibrary({kName}, {folder}).status();
  EXPECT_EQ(absent.code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(absent.message()), HasSubstr((folder / kName).string()));
  EXPECT_THAT(std::string(LoadNvidiaLibrary({kName}, {"none has this"}).status().message()),
              HasSubstr("no Python here has packages of it"));
}

}  // namespace
}  // namespace longhand
